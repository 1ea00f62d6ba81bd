//! H.264 headers: parameter sets, slice types, the decoder configuration record.
