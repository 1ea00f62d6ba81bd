//! Plain sentences for the person who can act, keyed by a stable code.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use event_listener::{Event, EventListener};

use crate::lock;

/// Notices on one board; a further code is refused.
pub const NOTICES_MAX: usize = 32;
/// Bytes of a notice's text; the rest is cut at a character boundary.
pub const NOTICE_TEXT_MAX: usize = 500;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Viewers get less than they could.
    Warning,
    /// Viewers get nothing.
    Error,
}

impl Severity {
    /// `info`, `warning` or `error`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One sentence on the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Stable name of the condition: `audio_timestamps`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// A whole sentence that says what is wrong and what to do.
    pub text: String,
}

/// The notices of one stream. Bounded by [`NOTICES_MAX`].
#[derive(Debug, Default)]
pub struct NoticeBoard {
    notices: Mutex<BTreeMap<&'static str, (Severity, String)>>,
    version: AtomicU64,
    changed: Event,
}

impl NoticeBoard {
    /// Puts a sentence up, or replaces the one with the same code. Returns whether the board changed.
    pub fn set(&self, code: &'static str, severity: Severity, text: impl Into<String>) -> bool {
        let mut text = text.into();
        if text.len() > NOTICE_TEXT_MAX {
            let end = (0..=NOTICE_TEXT_MAX)
                .rev()
                .find(|&at| text.is_char_boundary(at))
                .unwrap_or(0);
            text.truncate(end);
        }
        {
            let mut notices = lock(&self.notices);
            let is_full = notices.len() >= NOTICES_MAX;
            match notices.get_mut(code) {
                Some((old_severity, old_text)) if *old_severity == severity && *old_text == text => {
                    return false;
                }
                Some(old) => *old = (severity, text),
                None if is_full => return false,
                None => {
                    notices.insert(code, (severity, text));
                }
            }
        }
        self.bump();
        true
    }

    /// Takes a sentence down. Returns whether it was up.
    pub fn clear(&self, code: &str) -> bool {
        let was_up = lock(&self.notices).remove(code).is_some();
        if was_up {
            self.bump();
        }
        was_up
    }

    /// All notices, ordered by code.
    pub fn list(&self) -> Vec<Notice> {
        let notices = lock(&self.notices);
        notices
            .iter()
            .map(|(&code, (severity, text))| Notice {
                code,
                severity: *severity,
                text: text.clone(),
            })
            .collect()
    }

    /// Grows with every change of the board.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Fires at the next change after this call. Listen first, then look at [`version`](Self::version).
    pub fn changed(&self) -> EventListener {
        self.changed.listen()
    }

    fn bump(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
        self.changed.notify(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_replaces_and_clear_removes() {
        let board = NoticeBoard::default();
        assert!(board.set(
            "gop",
            Severity::Warning,
            "Your encoder sends a keyframe every 8.3 s; set 2 s."
        ));
        assert!(!board.set(
            "gop",
            Severity::Warning,
            "Your encoder sends a keyframe every 8.3 s; set 2 s."
        ));
        assert!(board.set("gop", Severity::Info, "Better."));
        assert_eq!(board.version(), 2);
        assert_eq!(board.list().len(), 1);
        assert!(board.clear("gop"));
        assert!(!board.clear("gop"));
        assert_eq!(board.version(), 3);
    }

    #[test]
    fn board_and_text_are_bounded() {
        let board = NoticeBoard::default();
        for number in 0..2 * NOTICES_MAX {
            let code: &'static str = Box::leak(format!("code{number}").into_boxed_str());
            board.set(code, Severity::Info, "é".repeat(NOTICE_TEXT_MAX));
        }
        assert_eq!(board.list().len(), NOTICES_MAX);
        assert!(
            board
                .list()
                .iter()
                .all(|notice| notice.text.len() <= NOTICE_TEXT_MAX)
        );
    }

    #[test]
    fn listeners_wake() {
        let board = NoticeBoard::default();
        let listener = board.changed();
        board.set("a", Severity::Error, "No video arrives.");
        use event_listener::Listener;
        listener.wait();
    }
}
