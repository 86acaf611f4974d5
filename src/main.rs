//! The contender's binary.

fn main() {}
