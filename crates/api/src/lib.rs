//! The public API and the pages: JSON, server-sent events, time, health, metrics and the embedded web application.
//!
//! [`Api`] is made of a [`Directory`], which the program implements over its registries. [`Api::router`] answers every path
//! that is not media; [`Api::run`] follows the directory's changes and feeds the event streams: a view is serialised once
//! for all of them, and a listener that is slow gets the latest state of what it missed, never a queue.
//!
//! What a path token opens it shows to requests that carry an `Arc<access::Grant>` among their extensions: the server in
//! front has proved it. With [`Api::with_management`] it also answers what needs an admin token: channels, stream keys,
//! tokens, streams and their figures. A route is defined once (`operation`): the router, the check of tokens, the reading of
//! bodies and the OpenAPI document are made from that definition and from the types of its handler.
//!
//! [`Api::send_webhooks`] posts events to webhooks.
//!
//! It does not serve media (`deliver` does), and knows of streams only what [`Control`] tells.
//!
//! Specs: RFC 9457 (problems), Standard Webhooks 1.0, RFC 6750 (bearer tokens), OpenAPI 3.1, WHATWG HTML 9.2 (server-sent events), DASH-IF
//! UTCTiming http-iso.

mod docs;
mod events;
mod idempotency;
mod manage;
mod openapi;
mod operation;
mod pages;
mod problem;
mod public;
mod routes;
mod sse;
mod time;
mod tokens;
mod videos;
mod view;
mod webhook;

pub use manage::{Control, EncoderStats, PublishPorts, RenditionStats, StreamStats};
pub use pages::pages_embedded;
pub use routes::{Api, ApiOptions, Directory};
pub use time::rfc3339_utc;
pub use tokens::{ClaimView, TokenReport, TokenView};
pub use videos::{FindingVideo, FindingVideos, VideoCursor};
pub use view::{
    ChannelState, ChannelView, NoticeView, RenditionKind, RenditionView, Severity, VideoPage, VideoView,
};
pub use webhook::{Sender, SenderOptions};
