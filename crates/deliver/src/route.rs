//! From a request target to what is asked for, without allocating.

/// What a path under `/live/` names. All parts borrow from the request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LivePath<'a> {
    pub(crate) channel: &'a str,
    pub(crate) object: Object<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Object<'a> {
    /// `master.m3u8`
    Master,
    /// `manifest.mpd`
    Mpd,
    /// `thumbnail.jpg`
    Thumbnail,
    /// `RENDITION/playlist.m3u8`
    Playlist { rendition: &'a str },
    /// `RENDITION/STREAM/init-EPOCH.mp4`
    Init {
        rendition: &'a str,
        stream: &'a str,
        epoch: u32,
    },
    /// `RENDITION/STREAM/seg-MSN.m4s`
    Segment {
        rendition: &'a str,
        stream: &'a str,
        msn: u64,
    },
    /// `RENDITION/STREAM/part-MSN.PART.m4s`
    Part {
        rendition: &'a str,
        stream: &'a str,
        msn: u64,
        part: u32,
    },
}

/// What a path under `/vod/` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TitlePath<'a> {
    pub(crate) title: &'a str,
    pub(crate) object: TitleObject<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TitleObject<'a> {
    /// `master.m3u8`
    Master,
    /// `manifest.mpd`
    Mpd,
    /// `RENDITION/playlist.m3u8`
    Playlist { rendition: &'a str },
    /// `RENDITION/init-EPOCH.mp4`
    Init { rendition: &'a str, epoch: u32 },
    /// `RENDITION/seg-MSN.m4s`
    Segment { rendition: &'a str, msn: u64 },
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Live(LivePath<'a>),
    Title(TitlePath<'a>),
    /// Under `/live/` or `/vod/`, but no name we ever give.
    NoSuchMedia,
    /// Everything else: the API router.
    Fallback,
}

/// Longest channel, rendition or stream name that is looked up, bytes.
const NAME_BYTES_MAX: usize = 128;

pub(crate) fn route(path: &str) -> Route<'_> {
    if let Some(rest) = path.strip_prefix("/live/") {
        return live(rest).map_or(Route::NoSuchMedia, Route::Live);
    }
    match path.strip_prefix("/vod/") {
        Some(rest) => title(rest).map_or(Route::NoSuchMedia, Route::Title),
        None => Route::Fallback,
    }
}

fn title(rest: &str) -> Option<TitlePath<'_>> {
    let mut pieces = rest.split('/');
    let title = name(pieces.next()?)?;
    let second = pieces.next()?;
    let object = match (pieces.next(), pieces.next()) {
        (None, None) => match second {
            "master.m3u8" => TitleObject::Master,
            "manifest.mpd" => TitleObject::Mpd,
            _ => return None,
        },
        (Some("playlist.m3u8"), None) => TitleObject::Playlist {
            rendition: name(second)?,
        },
        (Some(file), None) => match media_file(name(second)?, "", file)? {
            Object::Init { rendition, epoch, .. } => TitleObject::Init { rendition, epoch },
            Object::Segment { rendition, msn, .. } => TitleObject::Segment { rendition, msn },
            _ => return None,
        },
        _ => return None,
    };
    Some(TitlePath { title, object })
}

fn live(rest: &str) -> Option<LivePath<'_>> {
    let mut pieces = rest.split('/');
    let channel = name(pieces.next()?)?;
    let second = pieces.next()?;
    let object = match (pieces.next(), pieces.next(), pieces.next()) {
        (None, None, None) => match second {
            "master.m3u8" => Object::Master,
            "manifest.mpd" => Object::Mpd,
            "thumbnail.jpg" => Object::Thumbnail,
            _ => return None,
        },
        (Some("playlist.m3u8"), None, None) => Object::Playlist {
            rendition: name(second)?,
        },
        (Some(stream), Some(file), None) => media_file(name(second)?, name(stream)?, file)?,
        _ => return None,
    };
    Some(LivePath { channel, object })
}

fn media_file<'a>(rendition: &'a str, stream: &'a str, file: &str) -> Option<Object<'a>> {
    if let Some(numbers) = file.strip_prefix("part-") {
        let (msn, part) = numbers.strip_suffix(".m4s")?.split_once('.')?;
        return Some(Object::Part {
            rendition,
            stream,
            msn: decimal(msn)?,
            part: decimal(part)?.try_into().ok()?,
        });
    }
    if let Some(msn) = file.strip_prefix("seg-") {
        return Some(Object::Segment {
            rendition,
            stream,
            msn: decimal(msn.strip_suffix(".m4s")?)?,
        });
    }
    let epoch = file.strip_prefix("init-")?.strip_suffix(".mp4")?;
    Some(Object::Init {
        rendition,
        stream,
        epoch: decimal(epoch)?.try_into().ok()?,
    })
}

/// Names are URL-safe by construction, so that nothing needs percent decoding.
fn name(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    (!text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)).then_some(text)
}

/// Digits only, no sign, no leading zero but for 0 itself: one object has one URL.
fn decimal(text: &str) -> Option<u64> {
    let canonical = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// Delivery directives of a media playlist request, RFC 8216bis 6.2.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) msn: Option<u64>,
    pub(crate) part: Option<u32>,
    /// `_HLS_skip=YES` or `v2`.
    pub(crate) skip: bool,
}

/// The directives, or a sentence for the client. Unknown parameters are ignored, also those that begin with `_HLS_`
/// (RFC 8216bis 6.2.5: a server ignores directives it does not know).
pub(crate) fn directives(query: Option<&str>) -> Result<Directives, &'static str> {
    let mut found = Directives::default();
    for (key, value) in query
        .unwrap_or("")
        .split('&')
        .filter_map(|pair| pair.split_once('='))
    {
        match key {
            "_HLS_msn" => {
                found.msn = Some(
                    value
                        .parse()
                        .map_err(|_| "_HLS_msn must be a media sequence number.")?,
                )
            }
            "_HLS_part" => found.part = Some(value.parse().map_err(|_| "_HLS_part must be a part index.")?),
            "_HLS_skip" => found.skip = matches!(value, "YES" | "v2"),
            _ => {}
        }
    }
    if found.part.is_some() && found.msn.is_none() {
        return Err("_HLS_part needs _HLS_msn beside it (RFC 8216bis 6.2.5.2).");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            ("/live/demo/master.m3u8", Some(Object::Master)),
            ("/live/demo/manifest.mpd", Some(Object::Mpd)),
            ("/live/demo/thumbnail.jpg", Some(Object::Thumbnail)),
            (
                "/live/demo/720p/playlist.m3u8",
                Some(Object::Playlist { rendition: "720p" }),
            ),
            (
                "/live/demo/720p/s1/init-0.mp4",
                Some(Object::Init {
                    rendition: "720p",
                    stream: "s1",
                    epoch: 0,
                }),
            ),
            (
                "/live/demo/720p/s1/seg-12.m4s",
                Some(Object::Segment {
                    rendition: "720p",
                    stream: "s1",
                    msn: 12,
                }),
            ),
            (
                "/live/demo/720p/s1/part-12.3.m4s",
                Some(Object::Part {
                    rendition: "720p",
                    stream: "s1",
                    msn: 12,
                    part: 3,
                }),
            ),
            ("/live/demo/720p/s1/part-012.3.m4s", None),
            ("/live/demo/720p/s1/part-+12.3.m4s", None),
            ("/live/demo/720p/s1/part-12.m4s", None),
            ("/live/demo/720p/s1/part-12.99999999999.m4s", None),
            ("/live/demo/720p/s1/seg-99999999999999999999999.m4s", None),
            ("/live/demo/720p/s1/seg-.m4s", None),
            ("/live/demo/720p/s1/more/seg-1.m4s", None),
            ("/live/demo", None),
            ("/live/demo/", None),
            ("/live//master.m3u8", None),
            ("/live/de%2fmo/master.m3u8", None),
            ("/live/demo/master.m3u8/", None),
        ];
        for (path, object) in cases {
            let expected = match object {
                Some(object) => Route::Live(LivePath {
                    channel: "demo",
                    object,
                }),
                None => Route::NoSuchMedia,
            };
            assert_eq!(route(path), expected, "{path}");
        }
        for path in ["/", "/live", "/livestream/x", "/api/v1/channels", "/watch/demo"] {
            assert_eq!(route(path), Route::Fallback, "{path}");
        }
    }

    #[test]
    fn title_paths() {
        let rendition = "720p";
        let cases = [
            ("/vod/s1/master.m3u8", Some(TitleObject::Master)),
            ("/vod/s1/manifest.mpd", Some(TitleObject::Mpd)),
            (
                "/vod/s1/720p/playlist.m3u8",
                Some(TitleObject::Playlist { rendition }),
            ),
            (
                "/vod/s1/720p/init-3.mp4",
                Some(TitleObject::Init { rendition, epoch: 3 }),
            ),
            (
                "/vod/s1/720p/seg-12.m4s",
                Some(TitleObject::Segment { rendition, msn: 12 }),
            ),
            ("/vod/s1/720p/part-12.3.m4s", None),
            ("/vod/s1/720p/seg-012.m4s", None),
            ("/vod/s1/720p/s1/seg-12.m4s", None),
            ("/vod/s1", None),
        ];
        for (path, object) in cases {
            let expected = object.map_or(Route::NoSuchMedia, |object| {
                Route::Title(TitlePath { title: "s1", object })
            });
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn directives_are_read_and_unknown_ones_ignored() {
        let of = |msn, part, skip| Ok(Directives { msn, part, skip });
        assert_eq!(directives(None), of(None, None, false));
        assert_eq!(directives(Some("")), of(None, None, false));
        assert_eq!(directives(Some("_HLS_msn=7")), of(Some(7), None, false));
        assert_eq!(
            directives(Some("_HLS_msn=7&_HLS_part=2&_HLS_skip=YES")),
            of(Some(7), Some(2), true)
        );
        assert_eq!(
            directives(Some("a=b&_HLS_skip=v2&_HLS_future=1")),
            of(None, None, true)
        );
        assert_eq!(directives(Some("_HLS_skip=NO")), of(None, None, false));
        for bad in [
            "_HLS_msn=-1",
            "_HLS_msn=",
            "_HLS_msn=x",
            "_HLS_part=1",
            "_HLS_msn=1&_HLS_part=99999999999",
        ] {
            assert!(directives(Some(bad)).is_err(), "{bad}");
        }
    }
}
