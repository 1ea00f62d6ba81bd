//! One task per stream: samples from the hub go to the packager and to the encoders, and the encoders' rungs come back.
//!
//! [`Live`] follows the hub's registry. For each stream it starts one task on one core, which owns the stream's
//! [`package::Packager`] and its FFmpeg ladder, and shares the resulting [`package::LiveWindow`] with delivery.
//! The loop of a task: wait for a sample of any feed, an event of the ladder or the packager's deadline; hand it on;
//! say in plain sentences on the stream's notice board what people should know.
//!
//! If there is a store, a second task per stream records it: it takes complete segments from the window (`recorder`).
//!
//! It parses nothing, encodes nothing and knows no protocol on either side. A panic in one stream's task ends that stream
//! as failed and nothing else.

mod alarm;
mod broadcast;
mod encoders;
mod kept;
mod looks;
mod recorder;
mod rungs;
mod seldom;
mod sentences;
mod supervisor;
mod task;
mod thumbnail;

pub use broadcast::{Broadcast, LadderView};
pub use encoders::{EncoderState, Encoders};
pub use supervisor::{Live, LiveConfig};
