//! The nouns of Tidewire: exact media time, tracks, samples, codec configurations and ladder arithmetic.
//!
//! Pure: no socket, file, thread, clock, runtime or randomness. Everything a protocol brings in becomes
//! [`Track`]s of [`Sample`]s here, and nothing inside the system knows RTMP, RTP or FLV.

pub mod aac;
pub mod av1;
mod bits;
mod clock;
pub mod flac;
pub mod h264;
pub mod hevc;
mod hevc_sps;
pub mod ladder;
mod nal;
pub mod opus;
mod sample;
mod sps;
mod time;
mod track;

pub use clock::Clock;
pub use sample::{Micros, Sample};
pub use time::{MILLISECONDS, MediaTime, VIDEO_TIMESCALE, rescale};
pub use track::{AudioCodec, AudioConfig, FrameRate, MediaKind, Track, TrackConfig, VideoCodec, VideoConfig};
