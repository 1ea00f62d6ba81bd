//! The little that a viewer must know of a playlist and of a part.

use anyhow::{Context as _, Result};

/// Where a media playlist ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// The part to ask for next.
    pub(crate) msn: u64,
    pub(crate) part: u64,
    /// The hinted part, as written.
    pub(crate) hint: Option<String>,
    pub(crate) map: Option<String>,
    pub(crate) ended: bool,
}

/// Reads the end of a media playlist, full or delta.
pub(crate) fn end(text: &[u8]) -> End {
    let mut end = End::default();
    for line in text.split(|byte| *byte == b'\n') {
        if line.starts_with(b"#EXT-X-PART:") {
            end.part += 1;
        } else if line.starts_with(b"#EXTINF") {
            end.msn += 1;
            end.part = 0;
        } else if let Some(value) = line.strip_prefix(b"#EXT-X-MEDIA-SEQUENCE:") {
            end.msn += number(value);
        } else if let Some(value) = line.strip_prefix(b"#EXT-X-SKIP:SKIPPED-SEGMENTS=") {
            end.msn += number(value);
        } else if line.starts_with(b"#EXT-X-PRELOAD-HINT:TYPE=PART") {
            end.hint = uri(line);
        } else if line.starts_with(b"#EXT-X-MAP:") {
            end.map = uri(line);
        } else if line.starts_with(b"#EXT-X-ENDLIST") {
            end.ended = true;
        }
    }
    end
}

fn number(text: &[u8]) -> u64 {
    text.iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |n, byte| n * 10 + u64::from(byte - b'0'))
}

fn uri(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    text.split_once("URI=\"")?
        .1
        .split_once('"')
        .map(|(uri, _)| uri.to_owned())
}

/// The video playlist of the first variant, and the audio playlist, when it is apart.
pub(crate) fn tracks(master: &str) -> Result<(String, Option<String>)> {
    let mut lines = master.lines();
    let mut audio = None;
    while let Some(line) = lines.next() {
        if line.starts_with("#EXT-X-MEDIA:") && line.contains("TYPE=AUDIO") {
            audio = audio.or_else(|| uri(line.as_bytes()));
        } else if line.starts_with("#EXT-X-STREAM-INF:") {
            let video = lines
                .find(|line| !line.starts_with('#'))
                .context("EXT-X-STREAM-INF without a URI")?;
            return Ok((video.to_owned(), audio));
        }
    }
    anyhow::bail!("no variant in the multivariant playlist")
}

/// `reference` against the path `base`.
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    if reference.starts_with('/') {
        return reference.to_owned();
    }
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for word in reference.split('/') {
        match word {
            "." => {}
            ".." => drop(parts.pop()),
            word => parts.push(word),
        }
    }
    parts.join("/")
}

/// The `mdhd` timescale of an init segment.
pub(crate) fn timescale(init: &[u8]) -> Option<u32> {
    let at = init.windows(4).position(|four| four == b"mdhd")? + 4;
    let version = *init.get(at)?;
    be32(init, at + if version == 1 { 20 } else { 12 })
}

/// The decode time of the last sample of a part (ISO/IEC 14496-12 8.8.12 and 8.8.8), in ticks, when its samples have
/// durations of their own or a default in `tfhd`.
pub(crate) fn last_decode_time(part: &[u8]) -> Option<u64> {
    let (mut rest, mut last) = (part, None);
    while rest.len() >= 8 {
        let size = be32(rest, 0)? as usize;
        if size < 8 || size > rest.len() {
            break;
        }
        if &rest[4..8] == b"moof" {
            last = moof_last_decode_time(&rest[..size]).or(last);
        }
        rest = &rest[size..];
    }
    last
}

fn moof_last_decode_time(moof: &[u8]) -> Option<u64> {
    let find = |kind: &[u8]| moof.windows(4).position(|four| four == kind).map(|at| at + 4);
    let (tfhd, tfdt, trun) = (find(b"tfhd")?, find(b"tfdt")?, find(b"trun")?);
    let start = if moof.get(tfdt) == Some(&1) {
        u64::from(be32(moof, tfdt + 4)?) << 32 | u64::from(be32(moof, tfdt + 8)?)
    } else {
        u64::from(be32(moof, tfdt + 4)?)
    };
    let flags = be32(moof, tfhd)? & 0xff_ffff;
    let before = [(0x1, 8), (0x2, 4)]
        .iter()
        .filter(|(bit, _)| flags & bit != 0)
        .map(|(_, bytes)| bytes)
        .sum::<usize>();
    let default = if flags & 0x8 == 0 {
        None
    } else {
        be32(moof, tfhd + 8 + before)
    };
    let flags = be32(moof, trun)? & 0xff_ffff;
    let count = be32(moof, trun + 4)? as usize;
    let fields = [0x100, 0x200, 0x400, 0x800]
        .iter()
        .filter(|bit| flags & **bit != 0)
        .count();
    let first = trun + 8 + [0x1, 0x4].iter().filter(|bit| flags & **bit != 0).count() * 4;
    let mut sum = 0;
    for sample in 0..count.checked_sub(1)? {
        let own = if flags & 0x100 == 0 {
            None
        } else {
            be32(moof, first + sample * fields * 4)
        };
        sum += u64::from(own.or(default)?);
    }
    Some(start + sum)
}

fn be32(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{End, end, resolve, tracks};

    #[test]
    fn the_end_of_a_playlist_is_found() {
        let text = b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n#EXT-X-PART:DURATION=1,URI=\"a\"\n\
            #EXTINF:2,\nseg\n#EXT-X-PART:DURATION=1,URI=\"b\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"c\"\n";
        let expected = End {
            msn: 14,
            part: 1,
            hint: Some("c".into()),
            map: None,
            ended: false,
        };
        assert_eq!(end(text), expected);
    }

    #[test]
    fn tracks_and_references_are_found() {
        let master = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"audio/p.m3u8\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/p.m3u8\n";
        assert_eq!(
            tracks(master).expect("valid"),
            ("v/p.m3u8".into(), Some("audio/p.m3u8".into()))
        );
        assert_eq!(resolve("/live/a/master.m3u8", "../b/x"), "/live/b/x");
    }
}
