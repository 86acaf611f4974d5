//! The lab's one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::cli::main()
}
