//! The allocator of everything in this library, its dependencies included: it overwrites what is freed.
//!
//! That reaches the buffers of ours that hold secrets, those of the HTTP, TLS and XML crates, which hold a key's object
//! for a moment, and the one that a vector leaves when it grows.

use std::alloc::{GlobalAlloc, Layout, System};
use std::{ptr, slice};

/// The system's allocator, wiping.
struct Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

// SAFETY: what is asked of a GlobalAlloc is the system's doing; memory is written only while it is still allocated,
// within the size that its layout gives.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller gives up `memory`, which is as large as `layout` says. The barrier makes the zeros
        // something that is read, so that they are not left out as dead.
        unsafe {
            ptr::write_bytes(memory, 0, layout.size());
            zeroize::optimization_barrier(slice::from_raw_parts(memory, layout.size()));
            System.dealloc(memory, layout);
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The system's could move the content and leave the old copy.
        // SAFETY: as the caller vouches, for both layouts; the two allocations do not overlap.
        unsafe {
            let new = System.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(memory, new, layout.size().min(size));
                self.dealloc(memory, layout);
            }
            new
        }
    }
}
