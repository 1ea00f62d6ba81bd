//! What H.264 and HEVC samples have in common: NAL units behind lengths.

use bytes::{BufMut, Bytes, BytesMut};

use crate::h264::nal_units_sized;

/// The sample without the NAL units that `take` does not want, with 4-byte lengths. Without a copy where what remains is
/// one run of it with 4-byte lengths, as in all but odd streams. A malformed tail is left out.
///
/// `take` sees each NAL unit once, in order; `keeps` is the same decision without a memory, for the copy.
pub(crate) fn keep_units(
    data: &Bytes,
    length_size: u8,
    mut take: impl FnMut(&[u8]) -> bool,
    keeps: impl Fn(&[u8]) -> bool,
) -> Bytes {
    let length_size = length_size.clamp(1, 4);
    // The run of kept bytes, while it is one run; else the copy.
    let (mut from, mut to) = (0, 0);
    let mut is_one_run = length_size == 4;
    let mut at = 0;
    for nal in nal_units_sized(data, length_size) {
        let end = at + usize::from(length_size) + nal.len();
        if take(nal) {
            if from == to {
                from = at;
            } else if to != at {
                is_one_run = false;
            }
            to = end;
        }
        at = end;
    }
    if is_one_run || from == to {
        return data.slice(from..to);
    }
    let mut copy = BytesMut::with_capacity(data.len() * 2);
    for nal in nal_units_sized(data, length_size).filter(|nal| keeps(nal)) {
        copy.put_u32(u32::try_from(nal.len()).unwrap_or(u32::MAX));
        copy.put_slice(nal);
    }
    copy.freeze()
}
