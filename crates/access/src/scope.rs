//! What a token opens, and what a path shows.

use std::fmt;

/// Longest scope.
pub const SCOPE_BYTES_MAX: usize = 256;

/// A folder of media, and all below it: `/live/stage/`, `/live/stage/720p/`, `/live/` (every channel).
///
/// Begins and ends with `/`; its pieces are unreserved characters (RFC 3986 2.3), so that one folder has one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(String);

/// A path that a token cannot open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Neither media nor a page or API path that shows a channel or a title.
    #[error(
        "`{path}` is nothing that a token opens: give /live/CHANNEL/..., /watch/CHANNEL, /vod/TITLE/... or /video/TITLE"
    )]
    NothingThere {
        /// As given, shortened.
        path: String,
    },
    /// Longer than [`SCOPE_BYTES_MAX`].
    #[error("the path has {found} bytes; a token opens at most {SCOPE_BYTES_MAX}")]
    TooLong {
        /// Its bytes.
        found: usize,
    },
}

impl Scope {
    /// The scope with this text; `None` if it has another form.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_scope = text.len() <= SCOPE_BYTES_MAX && text.ends_with('/') && is_plain(text) && text != "/";
        is_scope.then(|| Self(text.to_owned()))
    }

    /// What a link to `path` has to open: a channel or title with all that belongs to it for its page, its manifests and
    /// its API paths, the folder for whatever lies deeper.
    ///
    /// # Errors
    /// A token cannot open that path.
    pub fn of_link(path: &str) -> Result<Self, ScopeError> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let nothing = || ScopeError::NothingThere {
            path: path.chars().take(80).collect(),
        };
        let resource = resource(path, query).ok_or_else(nothing)?;
        let text = resource.as_str();
        let folder = match text.split('/').count() {
            // `/live/stage`: the channel, not the folder it lies in.
            3 if !text.ends_with('/') => format!("{text}/"),
            _ => text[..=text.rfind('/').unwrap_or(0)].to_owned(),
        };
        let found = folder.len();
        if found > SCOPE_BYTES_MAX {
            return Err(ScopeError::TooLong { found });
        }
        Self::new(&folder).ok_or_else(nothing)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The channel it lies in: `stage` of `/live/stage/720p/`. `None` for titles and for `/live/`.
    pub fn channel(&self) -> Option<&str> {
        let name = self.0.strip_prefix("/live/")?.split('/').next()?;
        (!name.is_empty()).then_some(name)
    }

    /// Whether `resource` lies in it.
    pub fn covers(&self, resource: &Resource<'_>) -> bool {
        resource.as_str().starts_with(&self.0)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The media that a path shows: a file, or the folder of a channel or title as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<'a>(Place<'a>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place<'a> {
    File(&'a str),
    Folder(String),
}

impl Resource<'_> {
    /// A channel as a whole.
    pub fn channel(name: &str) -> Self {
        Self(Place::Folder(format!("/live/{name}/")))
    }

    /// Its path.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Place::File(path) => path,
            Place::Folder(path) => path,
        }
    }
}

/// Pages and API paths of one channel or title, and where its media lies.
const SHOWN_BY: [(&str, &str); 4] = [
    ("/watch/", "/live/"),
    ("/embed/", "/live/"),
    ("/video/", "/vod/"),
    ("/api/v1/channels/", "/live/"),
];

/// What `path` shows; `None`: nothing that a token could open.
pub fn resource<'a>(path: &'a str, query: Option<&str>) -> Option<Resource<'a>> {
    if !is_plain(path) {
        return None;
    }
    if path.starts_with("/live/") || path.starts_with("/vod/") {
        return Some(Resource(Place::File(path)));
    }
    let folder = |root: &str, name: &str| {
        let is_name = !name.is_empty() && !name.contains('/') && is_plain_piece(name);
        is_name.then(|| Resource(Place::Folder(format!("{root}{name}/"))))
    };
    for (shown_by, root) in SHOWN_BY {
        if let Some(name) = path.strip_prefix(shown_by) {
            return folder(root, name.strip_suffix('/').unwrap_or(name));
        }
    }
    if path != "/api/v1/live" {
        return None;
    }
    let channel = query?.split('&').find_map(|pair| pair.strip_prefix("channel="))?;
    folder("/live/", channel)
}

/// A path in its one form: unreserved characters, no empty piece but the last, no `.` and no `..`.
fn is_plain(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    rest.strip_suffix('/')
        .unwrap_or(rest)
        .split('/')
        .all(is_plain_piece)
        || rest.is_empty()
}

fn is_plain_piece(piece: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    !matches!(piece, "" | "." | "..") && piece.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_their_scopes() {
        let cases = [
            ("/live/stage/master.m3u8", Some("/live/stage/")),
            ("/live/stage/manifest.mpd?start=0", Some("/live/stage/")),
            ("/live/stage", Some("/live/stage/")),
            ("/live/stage/", Some("/live/stage/")),
            ("/live/stage/720p/playlist.m3u8", Some("/live/stage/720p/")),
            ("/live/stage/720p/", Some("/live/stage/720p/")),
            ("/live/", Some("/live/")),
            ("/watch/stage", Some("/live/stage/")),
            ("/watch/stage/", Some("/live/stage/")),
            ("/embed/stage", Some("/live/stage/")),
            ("/api/v1/channels/stage", Some("/live/stage/")),
            ("/api/v1/live?channel=stage", Some("/live/stage/")),
            ("/vod/tt_1/master.m3u8", Some("/vod/tt_1/")),
            ("/video/tt_1", Some("/vod/tt_1/")),
            ("/live", None),
            ("/", None),
            ("", None),
            ("stage", None),
            ("/watch/", None),
            ("/watch/a/b", None),
            ("/api/v1/live", None),
            ("/api/v1/live?channel=", None),
            ("/api/v1/channels", None),
            ("/metrics", None),
            ("/live/../metrics", None),
            ("/live/stage/./x", None),
            ("/live//x", None),
            ("/live/st%61ge/", None),
        ];
        for (path, expected) in cases {
            let found = Scope::of_link(path).ok();
            assert_eq!(found.as_ref().map(Scope::as_str), expected, "{path}");
        }
        let long = format!("/live/{}/", "x".repeat(300));
        assert_eq!(Scope::of_link(&long), Err(ScopeError::TooLong { found: 307 }));
    }

    #[test]
    fn a_scope_covers_what_lies_in_it_only() {
        let cases = [
            ("/live/stage/", "/live/stage/master.m3u8", true),
            ("/live/stage/", "/watch/stage", true),
            ("/live/stage/", "/live/stage2/master.m3u8", false),
            ("/live/stage/", "/live/stag/master.m3u8", false),
            ("/live/stage/", "/live/stage", false),
            ("/live/stage/", "/vod/stage/master.m3u8", false),
            ("/live/stage/720p/", "/live/stage/720p/s1/seg-1.m4s", true),
            ("/live/stage/720p/", "/live/stage/master.m3u8", false),
            ("/live/stage/720p/", "/watch/stage", false),
            ("/live/", "/watch/any", true),
        ];
        for (scope, path, is_covered) in cases {
            let scope = Scope::new(scope).unwrap();
            let resource = resource(path, None).unwrap();
            assert_eq!(scope.covers(&resource), is_covered, "{scope} {path}");
        }
        assert_eq!(Scope::new("/live/stage/720p/").unwrap().channel(), Some("stage"));
        assert_eq!(Scope::new("/live/").unwrap().channel(), None);
    }
}
