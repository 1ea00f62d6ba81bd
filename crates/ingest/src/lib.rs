//! Listeners for publishers: sockets in, samples into the hub.
//!
//! RTMP, and RTMPS on a listener of its own with the same limits. A shell around `rtmp` (the session machine) and `container::flv` (tag bodies). One task per connection; what it
//! does is in `rtmp_session.rs`, the way from a tag to a sample in `to_hub.rs`. Who may publish is the
//! [`Authorizer`]'s business. It does not package, store or play anything.
//!
//! Faults: whatever a peer sends ends at most its own connection, which is counted by [`CloseReason`] and logged in
//! one line. A panic within a session is caught there.

mod addresses;
mod authorize;
mod limits;
mod rtmp_server;
mod rtmp_session;
mod stats;
mod tls;
mod to_hub;

pub use addresses::Peer;
pub use authorize::{AuthorizeFuture, Authorized, Authorizer, Refusal};
pub use limits::Limits;
pub use rtmp_server::{LivePublisher, RtmpServer, bind};
pub use stats::{CloseReason, IngestStats, MediaFault};
pub use tls::{Tls, TlsError};
