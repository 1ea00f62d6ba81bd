//! Real clients against a real listener.
