//! What a memory of so many people takes, and how long it does things: `cargo run --release --example memory`.
//!
//! Each size is measured in a process of its own, so that what the system says of it is of that size alone.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use arena::load::payloads;
use clap::{Parser, ValueEnum};
use mimalloc::MiMalloc;
use peleja::json::Stored;
use peleja::memory::{Memory, Search, Step};
use uuid::Uuid;

#[path = "../benches/contender/people.rs"]
mod people;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What a memory takes at several sizes, and how long it does things.
#[derive(Parser)]
struct Args {
    /// Numbers of people
    #[arg(default_values_t = [50_000, 500_000, 5_000_000])]
    sizes: Vec<usize>,
    /// Of what kind they are
    #[arg(long, value_enum, default_value_t = Kind::Event)]
    kind: Kind,
    /// One size in this very process
    #[arg(long, hide = true)]
    here: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// As the event sends them
    Event,
    /// With a letter for each text
    Short,
    /// With 15 elements of 32 characters that nobody else has
    Long,
    /// The same, and no character of ASCII
    Foreign,
}

fn main() {
    let args = Args::parse();
    if args.here {
        return args.sizes.iter().for_each(|size| measure(*size, args.kind));
    }
    for size in args.sizes {
        let kind = args.kind.to_possible_value().unwrap();
        let own = Command::new(std::env::current_exe().unwrap())
            .args(["--here", "--kind", kind.get_name(), &size.to_string()])
            .status()
            .unwrap();
        assert!(own.success());
    }
}

fn measure(people: usize, kind: Kind) {
    let before = resident();
    let mut memory = Memory::default();
    let (mut adding, mut slowest) = (Duration::ZERO, Duration::ZERO);
    for_each(people, kind, |person| {
        let start = Instant::now();
        memory.add(&person);
        let time = start.elapsed();
        adding += time;
        slowest = slowest.max(time);
    });
    let (counted, taken) = (memory.bytes(), resident() - before);
    println!(
        "{people} people: {} MiB counted, {} MiB resident ({:+.1} %)",
        counted >> 20,
        taken >> 20,
        (taken as f64 / counted as f64 - 1.0) * 100.0
    );
    println!(
        "  a person: {} bytes; added in {:.2} µs, the slowest in {:.0} µs",
        counted / people,
        micros(adding) / people as f64,
        micros(slowest)
    );
    fetch(&memory, people);
    search(&memory);
}

fn for_each(count: usize, kind: Kind, mut take: impl FnMut(Stored<'_>)) {
    if let Kind::Event = kind {
        // Somebody rare among the last.
        let rare =
            Stored { id: Uuid::from_u128(u128::MAX), nickname: "9!7", fullname: "", dob: "2000-01-01", stack: None };
        people::for_each_person(count - 1, &mut take);
        return take(rare);
    }
    let letter = |number: usize| ["a", "é"][usize::from(matches!(kind, Kind::Foreign))].repeat(number);
    for number in 0..count {
        let unique = |place: usize| format!("{number:08}{place:02}{}", letter(22));
        let elements: Vec<String> = match kind {
            Kind::Short => Vec::new(),
            _ => (0..15).map(unique).collect(),
        };
        take(Stored {
            id: Uuid::from_u128(number as u128 + 1),
            nickname: "n",
            fullname: &letter(1),
            dob: "2000-01-01",
            stack: Some(elements.iter().map(|element| Some(element.as_str())).collect()),
        });
    }
}

fn fetch(memory: &Memory, people: usize) {
    let start = Instant::now();
    for turn in 0..100_000 {
        black_box(memory.get(Uuid::from_u128((turn * 7919 % people) as u128 + 1)));
    }
    println!("  fetched in {:.2} µs", micros(start.elapsed()) / 1e5);
}

fn search(memory: &Memory) {
    let start = Instant::now();
    let terms: Vec<String> = payloads::terms(payloads::SEED).take(1_000).collect();
    terms.iter().for_each(|term| drop(black_box(memory.search(term))));
    println!("  searched: the event's terms {:.1} µs", micros(start.elapsed()) / 1e3);
    for (name, term) in [
        ("everybody has it", "e"),
        ("many have it", "postgres"),
        ("two letters", "qz"),
        ("two that one has", "9!"),
        ("two that nobody has", "!?"),
        ("three letters", "qzx"),
        ("three that one has", "9!7"),
        ("three that nobody has", "!?9"),
        ("four letters", "qzxk"),
        ("five letters", "qzxkw"),
        ("six letters", "qzxkwv"),
        ("nobody has it", "nobody has this"),
    ] {
        let (mut fastest, mut longest_piece, mut found) = (Duration::MAX, Duration::ZERO, 0);
        for _ in 0..20 {
            let (time, piece, people) = time(memory, term);
            (fastest, longest_piece, found) = (fastest.min(time), longest_piece.max(piece), people);
        }
        println!(
            "    {name:22} {:>9.1} µs, the longest piece {:>6.1} µs, found {found}",
            micros(fastest),
            micros(longest_piece)
        );
    }
}

fn time(memory: &Memory, term: &str) -> (Duration, Duration, usize) {
    let start = Instant::now();
    let mut search = Search::new(term);
    let mut longest = Duration::ZERO;
    loop {
        let piece = Instant::now();
        let step = memory.advance(&mut search);
        longest = longest.max(piece.elapsed());
        if step == Step::Done {
            break;
        }
    }
    let found = search.found().len();
    (start.elapsed(), longest, found)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Bytes that the process has in memory, see proc_pid_statm(5).
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
