//! The public API and the pages: JSON, server-sent events, time, health, metrics and the embedded web application.
//!
//! [`Api`] is made of a [`Directory`], which the program implements over its registries. [`Api::router`] answers every path
//! that is not media; [`Api::run`] follows the directory's changes and feeds the event streams: a view is serialised once
//! for all of them, and a listener that is slow gets the latest state of what it missed, never a queue.
//!
//! It does not authenticate (nothing here changes anything), and does not serve media (`deliver` does).
//!
//! Specs: RFC 9457 (problems), WHATWG HTML 9.2 (server-sent events), DASH-IF UTCTiming http-iso.

mod events;
mod pages;
mod problem;
mod routes;
mod time;
mod view;

pub use pages::pages_embedded;
pub use routes::{Api, ApiOptions, Directory, FindingVideo, FindingVideos, VideoCursor};
pub use time::rfc3339_utc;
pub use view::{
    ChannelState, ChannelView, NoticeView, RenditionKind, RenditionView, Severity, VideoPage, VideoView,
};
