//! Behaviour of whole sessions.
