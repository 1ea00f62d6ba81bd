//! Samples in, CMAF parts and segments out, and the HLS and DASH text that names them.
//!
//! Pure: no socket, file, thread, clock, runtime or randomness. [`Packager`] is driven by one owner who gives it samples
//! and `now`, and asks it for the next deadline. What it makes is appended to a [`LiveWindow`], which many readers share:
//! they get immutable bytes, or a listener to wait on. The window locks for the length of a few pointer copies; text is
//! rendered outside that lock, at most once per part, and only when somebody asks.
//!
//! The way of a sample: [`Packager::push`] -> plan (where do segments start) -> rendition (where do parts end, own decode
//! timeline) -> `container::bmff` (one chunk) -> [`RenditionLog`] (append, wake readers) -> `hls`, `dash` (text on demand).
//!
//! A broadcast that is over is a [`Title`]: the same segments, described from wherever they are kept, and rendered whole.
//!
//! It does not encode, does not repair timestamps (the hub does) and knows nothing of HTTP.
//!
//! Specs: draft-pantos-hls-rfc8216bis, ISO/IEC 23000-19 (CMAF), ISO/IEC 23009-1 (DASH), DASH-IF low-latency guidelines.

mod clock;
mod config;
mod dash;
mod hls;
mod log;
mod packager;
mod part;
mod plan;
mod probe;
mod rendition;
mod text;
mod title;
mod window;

pub use config::{Mode, Notice, PackageConfig, Pushed, RenditionId, RenditionSpec, Role};
pub use dash::Period;
pub use log::{Answer, Completed, CompletedSegment, RenditionInfo, RenditionLog, SegmentBody};
pub use packager::Packager;
pub use text::Text;
pub use title::{Title, TitleRendition, TitleSegment, TrackFacts};
pub use window::LiveWindow;
