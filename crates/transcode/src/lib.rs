//! FFmpeg as a supervised child process: live ladders, audio to AAC, thumbnails, encoder probing.
//!
//! FFmpeg is never linked. Each stream gets one video child (one decode, all rungs, one pipe per rung) and, if its
//! audio is not AAC, one audio child. FLV goes in (HEVC and AV1: fragmented MP4) and comes out; what leaves this crate are [`media::Sample`]s on the
//! stream's own timeline, exact to the tick.
//!
//! # The loop
//! [`Transcoder`] owns one thread with a tokio `current_thread` runtime on which every child is spawned and all pipes
//! are served. One thread, because (a) `PR_SET_PDEATHSIG` is tied to the *thread* that forks, so children must be
//! spawned from one that lives as long as we do; (b) the delivery runtimes never fork and never carry pipe wake-ups;
//! (c) its work is a few MB/s of pipe copies beside encoders that take thousands of times that, and readiness from one
//! epoll costs less than a thread per pipe (three to eight pipes a child).
//! Callers push from any thread and never wait: [`LadderInput::push`] appends to a bounded backlog.
//!
//! # What it does not do
//! It does not choose segment boundaries (the caller says `force_idr`), does not repair timestamps (the hub does), and
//! does not package.
//!
//! Facts about FFmpeg that the code relies on are stated where they are used; they were measured on 5.1 and 9.0.

mod args;
mod audio;
mod backlog;
mod budget;
mod cost;
mod engine;
mod event;
mod ffmpeg;
mod ladder;
mod measure;
mod oneshot;
mod output;
mod policy;
mod probe;
mod process;
mod settings;
mod shared;
mod stats;
mod stderr;
mod supervise;
mod thumbnail;
mod writer;

pub use audio::{AudioInput, AudioToAac};
pub use budget::{Admission, EncodeBudget, Permit};
pub use cost::{CostTable, MeasuredRung};
pub use engine::Transcoder;
pub use event::{LadderEvent, RestartReason};
pub use ffmpeg::{Ffmpeg, FfmpegError};
pub use ladder::{LadderInput, LadderSpec, RungSink, VideoLadder};
pub use measure::{CostError, cached_costs, load_costs, measure_costs, save_costs};
pub use probe::{EncoderProbe, probe_encoders};
pub use settings::{BudgetSettings, EncoderSettings, LadderLimits};
pub use stats::LadderStats;
pub use thumbnail::ThumbnailError;
