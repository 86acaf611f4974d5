//! `cargo arena`: see `cargo arena --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    arena::cli::main()
}
