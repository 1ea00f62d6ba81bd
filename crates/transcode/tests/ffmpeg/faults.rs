//! What happens when a child misbehaves.
