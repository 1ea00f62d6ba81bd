//! The process's limit of open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the limit was and is. `u64::MAX` = none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FdLimit {
    /// Before [`raise_fd_limit`].
    pub(crate) before: u64,
    /// Now.
    pub(crate) current: u64,
    /// As far as a process without privileges may raise it.
    pub(crate) maximum: u64,
}

/// Raises the soft limit of open files to the hard one.
///
/// Every viewer and publisher takes a descriptor, and distributions start programs with 1024. Nothing here calls
/// `select(2)`, which alone would suffer from high numbers; FFmpeg children inherit the limit and do not either.
pub(crate) fn raise_fd_limit() -> FdLimit {
    let found = getrlimit(Resource::Nofile);
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: found.maximum,
            maximum: found.maximum,
        },
    );
    let current = if raised.is_ok() {
        found.maximum
    } else {
        found.current
    };
    FdLimit {
        before: number(found.current),
        current: number(current),
        maximum: number(found.maximum),
    }
}
