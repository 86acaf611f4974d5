//! The lab's one binary.

fn main() {}
