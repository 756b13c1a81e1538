//! Values in pages that are neither swapped out nor dumped, where the system allows.
//!
//! How much a process may lock is limited (`RLIMIT_MEMLOCK`, often 8 MiB). Past the limit values go where all memory
//! goes, and are counted: [`Pages::unlocked`].
//!
//! A forked child finds them wiped, where the system can do that (`MADV_WIPEONFORK`, Linux 4.14): what its parent knew is
//! of no use to it. Each region begins with a mark that is wiped with the values, so that none is ever used wiped,
//! however the process was forked.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is asked of the system at a time.
const REGION: usize = 64 * 1024;
const ALIGNMENT: usize = 64;
/// What a region that is not wiped begins with.
const MARK: u64 = 0x6b65_7973_2068_6572;

/// Room for values of one type. The owner's threads share it; a forked child makes its own, since another thread may
/// have held the lock of this one.
pub struct Pages<T> {
    free: Mutex<Free>,
    unlocked: AtomicUsize,
    _of: std::marker::PhantomData<fn() -> T>,
}

#[derive(Default)]
struct Free {
    slots: Vec<Slot>,
    regions: Vec<NonNull<u8>>,
}

#[derive(Clone, Copy)]
struct Slot {
    at: NonNull<u8>,
    is_locked: bool,
}

impl Slot {
    /// Whether its content is what was written there, and not wiped by a fork.
    fn is_whole(self) -> bool {
        let offset = self.at.addr().get() % REGION;
        // SAFETY: regions are aligned to their size, so this is where the slot's own begins; its mark is written by
        // `region` before there are slots, and by nobody since.
        let mark = unsafe { self.at.sub(offset).cast::<AtomicU64>().as_ref() };
        mark.load(Ordering::Relaxed) == MARK
    }
}

// SAFETY: the pointers are to memory that belongs to the pool alone, and is reached under its lock.
unsafe impl Send for Free {}

impl<T> Pages<T> {
    const SLOT: usize = size_of::<T>().next_multiple_of(ALIGNMENT);
    const FITS: () = assert!(
        align_of::<T>() <= ALIGNMENT && size_of::<T>() > 0 && ALIGNMENT + Self::SLOT <= REGION
    );

    /// No room yet.
    pub fn new() -> Arc<Self> {
        let () = Self::FITS;
        Arc::new(Self {
            free: Mutex::default(),
            unlocked: AtomicUsize::new(0),
            _of: std::marker::PhantomData,
        })
    }

    /// How many values lie in pages that may be swapped out.
    pub fn unlocked(&self) -> usize {
        self.unlocked.load(Ordering::Relaxed)
    }

    fn slot(&self) -> Option<Slot> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = free.slots.pop() {
            return Some(slot);
        }
        let (start, is_locked) = region()?;
        free.regions.push(start);
        // The mark takes one alignment. The next slot waits last.
        for index in (0..(REGION - ALIGNMENT) / Self::SLOT).rev() {
            // SAFETY: within the region.
            let at = unsafe { start.add(ALIGNMENT + index * Self::SLOT) };
            free.slots.push(Slot { at, is_locked });
        }
        free.slots.pop()
    }
}

impl<T> Drop for Pages<T> {
    fn drop(&mut self) {
        // Every value keeps the pool, so all slots are free, and wiped.
        let free = self.free.get_mut().unwrap_or_else(PoisonError::into_inner);
        for &start in &free.regions {
            // SAFETY: made by `region`, given back once.
            unsafe {
                #[cfg(any(target_os = "linux", target_os = "android"))]
                libc::madvise(start.as_ptr().cast(), REGION, libc::MADV_KEEPONFORK);
                #[cfg(unix)]
                libc::munlock(start.as_ptr().cast(), REGION);
                dealloc(start.as_ptr(), LAYOUT);
            }
        }
    }
}

// A page is the least that can be locked; the regions begin with one and end with one.
const LAYOUT: Layout = match Layout::from_size_align(REGION, REGION) {
    Ok(layout) => layout,
    Err(_) => panic!("a power of two"),
};

/// Zeroed memory, and whether it is locked.
fn region() -> Option<(NonNull<u8>, bool)> {
    // SAFETY: the size is not zero.
    let start = NonNull::new(unsafe { alloc_zeroed(LAYOUT) })?;
    #[cfg(unix)]
    // SAFETY: the region is ours. Neither call changes its content; a refusal leaves it as it was.
    let is_locked = unsafe {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        for advice in [libc::MADV_DONTDUMP, libc::MADV_WIPEONFORK] {
            libc::madvise(start.as_ptr().cast(), REGION, advice);
        }
        libc::mlock(start.as_ptr().cast(), REGION) == 0
    };
    #[cfg(not(unix))]
    let is_locked = false;
    // SAFETY: the region is ours, and aligned.
    unsafe { start.cast::<AtomicU64>().write(AtomicU64::new(MARK)) };
    Some((start, is_locked))
}

/// A value in such a page; wiped when dropped, and in a forked child.
pub struct Locked<T> {
    slot: Slot,
    pages: Arc<Pages<T>>,
}

impl<T> Locked<T> {
    /// Moves `value` there. `None` where there is no memory.
    pub fn new(pages: &Arc<Pages<T>>, value: T) -> Option<Self> {
        let slot = pages.slot()?;
        if !slot.is_locked {
            pages.unlocked.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: a slot is large and aligned enough, and nobody else's.
        unsafe { slot.at.cast::<T>().write(value) };
        Some(Self {
            slot,
            pages: Arc::clone(pages),
        })
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;
    /// # Panics
    /// In a child that was forked while it held the value, which has none any more.
    fn deref(&self) -> &T {
        assert!(self.slot.is_whole(), "used in a forked child");
        // SAFETY: written by `new`, dropped only by `drop`.
        unsafe { self.slot.at.cast().as_ref() }
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        if !self.slot.is_whole() {
            // There is nothing to drop in a forked child, and another thread may have held the pool's lock.
            return;
        }
        // SAFETY: dropped once; what the value's own drop left is overwritten within the slot, and read by the barrier.
        unsafe {
            ptr::drop_in_place(self.slot.at.cast::<T>().as_ptr());
            ptr::write_bytes(self.slot.at.as_ptr(), 0, Pages::<T>::SLOT);
            zeroize::optimization_barrier(self.slot.at.as_ref());
        }
        if !self.slot.is_locked {
            self.pages.unlocked.fetch_sub(1, Ordering::Relaxed);
        }
        let mut free = self
            .pages
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        free.slots.push(self.slot);
    }
}

// SAFETY: it owns its value and hands out shared references alone, as a Box does.
unsafe impl<T: Send> Send for Locked<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Locked<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_apart_and_their_room_is_wiped_and_used_again() {
        let pages = Pages::<[u64; 40]>::new();
        let values: Vec<_> = (0..1000)
            .map(|n| Locked::new(&pages, [n; 40]).unwrap())
            .collect();
        for (n, value) in values.iter().enumerate() {
            assert_eq!(**value, [n as u64; 40]);
        }
        let at = values[500].slot.at;
        drop(values);
        assert_eq!(pages.unlocked(), 0);
        // SAFETY: the pool still holds the memory.
        assert_eq!(unsafe { at.cast::<[u64; 40]>().read() }, [0; 40]);
        let regions = pages.free.lock().unwrap().regions.len();
        let _again: Vec<_> = (0..1000)
            .map(|n| Locked::new(&pages, [n; 40]).unwrap())
            .collect();
        assert_eq!(pages.free.lock().unwrap().regions.len(), regions);
    }
}
