//! The chunk stream: header forms by hand, and any messages through any cuts.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use rtmp::chunk::{ChunkReader, ChunkWriter, Message};
use rtmp::{Error, Limits};

fn read_all(reader: &mut ChunkReader, bytes: &[u8]) -> Result<Vec<Message>, Error> {
    let mut input = BytesMut::from(bytes);
    let mut messages = Vec::new();
    while let Some(message) = reader.next(&mut input)? {
        messages.push(message);
    }
    assert!(input.is_empty(), "left over: {input:?}");
    Ok(messages)
}

fn read(bytes: &[u8]) -> Result<Vec<Message>, Error> {
    read_all(&mut ChunkReader::new(&Limits::default()), bytes)
}

fn message(chunk_stream: u32, timestamp: u32, type_id: u8, stream_id: u32, payload: &[u8]) -> Message {
    Message {
        chunk_stream,
        timestamp,
        type_id,
        stream_id,
        payload: payload.to_vec().into(),
    }
}

/// The first example of the specification, 5.3.2.1: four audio messages of 32 bytes.
#[test]
fn header_forms_say_what_changed() {
    let mut bytes = vec![3, 0, 3, 232, 0, 0, 32, 8, 0x39, 0x30, 0, 0];
    bytes.extend([1; 32]);
    bytes.extend([0x83, 0, 0, 20]);
    bytes.extend([2; 32]);
    bytes.push(0xc3);
    bytes.extend([3; 32]);
    bytes.push(0xc3);
    bytes.extend([4; 32]);
    let expected: Vec<_> = [(1000, 1), (1020, 2), (1040, 3), (1060, 4)]
        .into_iter()
        .map(|(at, fill)| message(3, at, 8, 12_345, &[fill; 32]))
        .collect();
    assert_eq!(read(&bytes).unwrap(), expected);
}

/// The second example, 5.3.2.2: one message in three chunks.
#[test]
fn long_messages_are_joined() {
    let mut bytes = vec![4, 0, 3, 232, 0, 1, 51, 9, 0x3a, 0x30, 0, 0];
    bytes.extend([7; 128]);
    bytes.push(0xc4);
    bytes.extend([7; 128]);
    bytes.push(0xc4);
    bytes.extend([7; 51]);
    assert_eq!(read(&bytes).unwrap(), [message(4, 1000, 9, 12_346, &[7; 307])]);
}

#[test]
fn chunk_stream_ids_have_three_forms() {
    for (basic, id) in [
        (vec![2], 2),
        (vec![63], 63),
        (vec![0, 0], 64),
        (vec![0, 255], 319),
        (vec![1, 0, 1], 320),
        (vec![1, 255, 255], 65_599),
    ] {
        let mut bytes = basic;
        bytes.extend([0, 0, 9, 0, 0, 1, 8, 1, 0, 0, 0, 42]);
        assert_eq!(read(&bytes).unwrap(), [message(id, 9, 8, 1, &[42])]);
    }
}

#[test]
fn extended_times_may_be_left_out_of_type_3() {
    for is_repeated in [true, false] {
        let mut bytes = vec![4, 255, 255, 255, 0, 0, 200, 9, 1, 0, 0, 0];
        bytes.put_u32(0x0123_4567);
        bytes.extend([7; 128]);
        bytes.push(0xc4);
        if is_repeated {
            bytes.put_u32(0x0123_4567);
        }
        bytes.extend([7; 72]);
        assert_eq!(read(&bytes).unwrap(), [message(4, 0x0123_4567, 9, 1, &[7; 200])]);
    }
}

#[test]
fn type_3_after_type_0_repeats_a_small_time_only() {
    for (at, expected) in [(40u32, 80), (100_000, 100_000)] {
        let mut bytes = vec![4];
        bytes.put_uint(u64::from(at), 3);
        bytes.extend([0, 0, 1, 8, 1, 0, 0, 0, 1, 0xc4, 2]);
        let times: Vec<u32> = read(&bytes)
            .unwrap()
            .iter()
            .map(|message| message.timestamp)
            .collect();
        assert_eq!(times, [at, expected]);
    }
}

#[test]
fn abort_drops_what_came() {
    let limits = Limits::default();
    let mut reader = ChunkReader::new(&limits);
    let mut first = vec![4, 0, 0, 0, 0, 1, 51, 9, 1, 0, 0, 0];
    first.extend([7; 128]);
    assert!(read_all(&mut reader, &first).unwrap().is_empty());
    assert_eq!(reader.partial_bytes(), 307);
    reader.abort(9);
    reader.abort(4);
    reader.abort(4);
    assert_eq!(reader.partial_bytes(), 0);
    let second = [4, 0, 0, 5, 0, 0, 1, 8, 1, 0, 0, 0, 1];
    assert_eq!(
        read_all(&mut reader, &second).unwrap(),
        [message(4, 5, 8, 1, &[1])]
    );
}

#[test]
fn bad_chunks_are_named() {
    assert_eq!(
        read(&[0x84, 0, 0, 1]),
        Err(Error::MissingHeader {
            chunk_stream: 4,
            format: 2
        })
    );
    assert_eq!(
        read(&[0xc4]),
        Err(Error::MissingHeader {
            chunk_stream: 4,
            format: 3
        })
    );
    let mut bytes = vec![4, 0, 0, 0, 0, 1, 51, 9, 1, 0, 0, 0];
    bytes.extend([7; 128]);
    bytes.extend([4, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 1]);
    let expected = Error::MessageInterrupted {
        chunk_stream: 4,
        received: 128,
        expected: 307,
    };
    assert_eq!(read(&bytes), Err(expected));
    let mut bytes = Vec::new();
    for id in 2..60 {
        bytes.extend([id, 0, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0]);
    }
    assert_eq!(read(&bytes), Err(Error::ChunkStreams { limit: 32 }));
    // Unfinished messages that announce more than may be held.
    let limits = Limits {
        partial_bytes_max: 100_000,
        ..Limits::default()
    };
    let mut bytes = Vec::new();
    for id in [4, 5] {
        bytes.extend([id, 0, 0, 0, 0, 0xea, 0x60, 9, 1, 0, 0, 0]);
        bytes.extend([7; 128]);
    }
    let error = read_all(&mut ChunkReader::new(&limits), &bytes).unwrap_err();
    assert_eq!(
        error,
        Error::PartialBytes {
            found: 120_000,
            limit: 100_000
        }
    );
}

#[test]
fn payloads_are_slices_of_the_read_buffer() {
    let mut reader = ChunkReader::new(&Limits::default());
    reader.set_chunk_bytes(65_536);
    let mut input = BytesMut::from(&[4, 0, 0, 0, 0, 0x10, 0, 9, 1, 0, 0, 0][..]);
    input.put_bytes(7, 4096);
    let expected = input[12..].as_ptr();
    let message = reader.next(&mut input).unwrap().unwrap();
    assert_eq!(message.payload.as_ptr(), expected);
    // And a small one is not.
    input.put_slice(&[4, 0, 0, 0, 0, 0, 3, 9, 1, 0, 0, 0, 1, 2, 3]);
    let expected = input[12..].as_ptr();
    let message = reader.next(&mut input).unwrap().unwrap();
    assert_ne!(message.payload.as_ptr(), expected);
}

fn any_message() -> impl Strategy<Value = Message> {
    let chunk_stream = prop_oneof![2u32..8, 60u32..70, 315u32..325];
    let timestamp = prop_oneof![0u32..2000, 0xff_ff00u32..0x100_0100, any::<u32>()];
    let length = prop_oneof![0usize..10, 100usize..300, 0usize..20_000];
    (
        chunk_stream,
        timestamp,
        prop_oneof![Just(8u8), Just(9), Just(18)],
        0u32..3,
        length,
        any::<u8>(),
    )
        .prop_map(
            |(chunk_stream, timestamp, type_id, stream_id, length, fill)| Message {
                chunk_stream,
                timestamp,
                type_id,
                stream_id,
                payload: (0..length)
                    .map(|at| (at as u8).wrapping_mul(31) ^ fill)
                    .collect::<Vec<u8>>()
                    .into(),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any messages, any chunk size, any cuts of the byte stream: the same messages.
    #[test]
    fn messages_survive_any_cut(
        messages in prop::collection::vec(any_message(), 1..30),
        chunk_bytes in prop_oneof![1usize..5, 100usize..200, 4096usize..70_000],
        cuts in prop::collection::vec(prop_oneof![1usize..20, 1usize..5000], 1..40),
    ) {
        let mut writer = ChunkWriter::default();
        writer.set_chunk_bytes(chunk_bytes);
        let mut bytes = BytesMut::new();
        for m in &messages {
            let middle = m.payload.len() / 3;
            let parts = [&m.payload[..middle], &m.payload[middle..]];
            writer.write(&mut bytes, m.chunk_stream, m.type_id, m.stream_id, m.timestamp, &parts);
        }
        let limits = Limits { chunk_streams_max: 100, ..Limits::default() };
        let mut reader = ChunkReader::new(&limits);
        reader.set_chunk_bytes(chunk_bytes);
        let mut input = BytesMut::new();
        let mut found = Vec::new();
        let mut cuts = cuts.into_iter().cycle();
        while !bytes.is_empty() {
            let cut = cuts.next().unwrap_or(1).min(bytes.len());
            input.extend_from_slice(&bytes.split_to(cut));
            while let Some(message) = reader.next(&mut input).unwrap() {
                found.push(message);
            }
            prop_assert!(input.len() <= limits.contiguous_bytes_max + 18);
        }
        prop_assert!(input.is_empty());
        prop_assert_eq!(reader.partial_bytes(), 0);
        prop_assert_eq!(found, messages);
    }
}
