//! The contender.
