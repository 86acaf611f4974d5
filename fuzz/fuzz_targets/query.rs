#![no_main]
#![allow(dead_code, reason = "each target makes one of the comparisons")]

#[path = "../../tests/readings/compare.rs"]
mod compare;
#[path = "../../tests/readings/reference/mod.rs"]
mod reference;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compare::query(bytes));
