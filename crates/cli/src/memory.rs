//! How the process uses memory and processors: settings that must stand before the first thread.

/// Asks the C library to keep freed memory for the next request. A step frees and asks for the same large buffers again
/// and again; given back to the system, each comes as fresh pages that have to be cleared first.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn keep_freed() {
    // SAFETY: sets parameters of malloc before any other thread exists.
    unsafe {
        // Only the first arena keeps what is freed, and the one that trains is not the first thread.
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
    }
}

/// Other allocators have no such switch.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn keep_freed() {}

/// Keeps candle's own threads from waiting in a loop where processors are few: they would take the time of those that
/// compute. A choice in the environment stands.
pub(crate) fn spare_spinning() {
    const NAME: &str = "CANDLE_NUM_THREADS";
    let few = std::thread::available_parallelism().is_ok_and(|processors| processors.get() <= 4);
    if few && std::env::var_os(NAME).is_none() {
        // SAFETY: no other thread exists yet that could read the environment.
        unsafe { std::env::set_var(NAME, "1") };
    }
}

/// The most memory that this process has held so far, in MiB.
#[cfg(unix)]
pub(crate) fn peak_mib() -> f64 {
    // SAFETY: getrusage fills the structure that it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    // Kilobytes, but bytes on a Mac.
    let unit = if cfg!(target_os = "macos") { 1024.0 * 1024.0 } else { 1024.0 };
    usage.ru_maxrss as f64 / unit
}

/// Not known on this system.
#[cfg(not(unix))]
pub(crate) fn peak_mib() -> f64 {
    f64::NAN
}
