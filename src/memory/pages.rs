//! Memory straight from the system, as much as is asked for and no more than a page rounds up: an allocator rounds up
//! further, and keeps what is given back.

use std::alloc::{Layout, handle_alloc_error};

use memmap2::MmapMut;

/// The smallest piece that the system gives.
const PAGE: usize = 4096;

/// So many bytes, all 0. Ends the program where there are none left, as every other allocation does.
pub(super) fn zeroed(length: usize) -> MmapMut {
    MmapMut::map_anon(length)
        .unwrap_or_else(|_| handle_alloc_error(Layout::array::<u8>(length).unwrap_or(Layout::new::<u8>())))
}

/// Bytes that a piece of that length takes.
pub(super) fn taken(length: usize) -> usize {
    length.next_multiple_of(PAGE)
}
