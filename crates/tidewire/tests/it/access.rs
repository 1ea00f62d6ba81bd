//! Who may watch what: every kind of channel, credential and thing to ask for.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::{Server, Shell};

const PATIENCE: Duration = Duration::from_secs(60);
/// What must stand in no answer to somebody who may not watch the private channel.
const SECRET_WORDS: [&str; 2] = ["board", "\"live\""];

/// FFmpeg publishes a small picture with sound until it is dropped.
struct Publisher(Child);

impl Publisher {
    fn new(server: &Server, key: &str) -> Self {
        let arguments = "-hide_banner -loglevel error -nostdin -re \
             -f lavfi -i testsrc2=size=160x90:rate=15 -f lavfi -i sine=sample_rate=48000 \
             -c:v libx264 -preset ultrafast -g 15 -keyint_min 15 -pix_fmt yuv420p -c:a aac -f flv";
        let url = format!("rtmp://{}/live/{key}", server.address("RTMP"));
        let child = Command::new("ffmpeg")
            .args(arguments.split_whitespace())
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("ffmpeg is installed");
        Self(child)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Links to a channel, one for each way to come.
struct Links {
    right: String,
    expired: String,
    wrong_path: String,
    wrong_ip: String,
}

fn link(shell: &Shell, channel: &str, more: &str) -> String {
    let outcome = shell.quiet(&format!("sign /watch/{channel} --json {more}"));
    let made: serde_json::Value = serde_json::from_str(&outcome.stdout).expect(&outcome.stderr);
    format!("/t/{}", made["token"].as_str().unwrap())
}

impl Links {
    fn new(shell: &Shell, channel: &str, another: &str) -> Self {
        Self {
            right: link(shell, channel, "--ttl 1h --ip 127.0.0.0/8"),
            // It is over a second or two later, and waited for.
            expired: link(shell, channel, "--ttl 1s"),
            wrong_path: link(shell, another, "--ttl 1h"),
            wrong_ip: link(shell, channel, "--ttl 1h --ip 192.0.2.0/24"),
        }
    }

    /// The prefix, and the refusal's code; `None`: it opens.
    fn all(&self) -> [(&str, Option<&'static str>); 4] {
        [
            (&self.right, None),
            (&self.expired, Some("token_expired")),
            (&self.wrong_path, Some("token_path")),
            (&self.wrong_ip, Some("token_ip")),
        ]
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every kind of thing there is to ask for of a channel that is live, by the names that its playlists give.
fn things(server: &Server, prefix: &str, channel: &str) -> Vec<(&'static str, String)> {
    let base = format!("/live/{channel}");
    let playlist = wait_for("segments and parts", || {
        let text = server.get(&format!("{prefix}{base}/source/playlist.m3u8"));
        (text.contains("seg-") && text.contains("EXT-X-PART:")).then_some(text)
    });
    let quoted = |tag: &str| {
        let line = playlist
            .lines()
            .rfind(|line| line.starts_with(tag))
            .unwrap_or_else(|| panic!("no {tag} in {playlist}"));
        line.split("URI=\"").nth(1).unwrap().split('"').next().unwrap()
    };
    let segment = playlist
        .lines()
        .rfind(|line| line.contains("/seg-") && !line.starts_with('#'));
    let media = |name: &str| format!("{base}/source/{name}");
    assert!(!playlist.contains("URI=\"/"), "{playlist}");
    vec![
        ("master playlist", format!("{base}/master.m3u8")),
        ("playlist", media("playlist.m3u8")),
        ("manifest", format!("{base}/manifest.mpd")),
        ("init", media(quoted("#EXT-X-MAP:"))),
        ("segment", media(segment.unwrap())),
        ("part", media(quoted("#EXT-X-PART:"))),
        ("thumbnail", format!("{base}/thumbnail.jpg")),
        ("view", format!("/api/v1/channels/{channel}")),
        ("events", format!("/api/v1/live?channel={channel}")),
        ("page", format!("/watch/{channel}")),
    ]
}

/// What an answer to somebody who may not watch is allowed to be.
fn refused(thing: &str, status: u16, body: &str, code: Option<&str>) {
    if let Some(code) = code {
        let expected = if matches!(code, "token_path" | "token_ip") {
            403
        } else {
            401
        };
        assert_eq!(status, expected, "{thing}: {body}");
        assert!(body.contains(&format!("\"code\":\"{code}\"")), "{thing}: {body}");
    } else {
        // Without a token it is as if there were no such channel: no events, and a page that is the same for every name.
        let is_allowed = match thing {
            "events" => body.contains("{\"data\":[]}"),
            "page" => true,
            _ => status == 404,
        };
        assert!(is_allowed, "{thing}: {status} {body}");
    }
    for word in SECRET_WORDS {
        assert!(!body.contains(word), "{thing} says `{word}`: {body}");
    }
}

/// What an answer to somebody who may watch has to be.
fn answered(thing: &str, status: u16, body: &str) {
    // A build without pages has none to show.
    let is_answered = status == 200 || (thing == "page" && status == 404);
    assert!(is_answered, "{thing}: {status} {body}");
}

#[test]
fn nothing_leaks_and_nothing_right_is_refused() {
    let shell = Shell::new();
    let made = |arguments: &str| -> String {
        let outcome = shell.quiet(&format!("channel add {arguments} --json"));
        let made: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
        made["stream_key"].as_str().unwrap().to_owned()
    };
    let (open, secret) = (made("stage"), made("board --private"));
    made("elsewhere --private");
    let server = shell.serve("--http 127.0.0.1:0 --rtmp 127.0.0.1:0");
    let _publishers = [Publisher::new(&server, &open), Publisher::new(&server, &secret)];
    for (channel, is_private) in [("stage", false), ("board", true)] {
        let links = Links::new(&shell, channel, "elsewhere");
        let things = things(&server, &links.right, channel);
        wait_for("the first picture", || {
            let (status, _) = server.ask(&format!("{}/live/{channel}/thumbnail.jpg", links.right));
            (status == 200).then_some(())
        });
        wait_for("the end of a link", || {
            let (status, _) = server.ask(&format!("{}/live/{channel}/master.m3u8", links.expired));
            (status == 401).then_some(())
        });
        for (thing, path) in &things {
            let (status, body) = server.ask(path);
            if is_private {
                refused(thing, status, &body, None);
            } else {
                answered(thing, status, &body);
            }
            for (prefix, code) in links.all() {
                let (status, body) = server.ask(&format!("{prefix}{path}"));
                match code {
                    Some(code) => refused(thing, status, &body, Some(code)),
                    None => answered(thing, status, &body),
                }
                if code.is_none() && matches!(*thing, "view" | "events") {
                    assert!(
                        body.contains(&format!("\"{prefix}/live/{channel}/master.m3u8\"")),
                        "{body}"
                    );
                }
            }
        }
    }
    // The lists and the figures know of no private channel.
    for path in ["/api/v1/channels", "/api/v1/live", "/metrics", "/"] {
        let (_, body) = server.ask(path);
        assert!(!body.contains("board"), "{path}: {body}");
    }
    // A revoked key takes its links back while the server runs.
    let right = link(&shell, "board", "--ttl 1h");
    let master = format!("{right}/live/board/master.m3u8");
    assert_eq!(server.ask(&master).0, 200);
    let keys = shell.quiet("signing-key list --json").stdout;
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    shell.quiet(&format!("signing-key revoke {}", keys[0]["id"].as_str().unwrap()));
    let body = wait_for("the refusal", || {
        let (status, body) = server.ask(&master);
        (status == 401).then_some(body)
    });
    assert!(body.contains("token_signature"), "{body}");
    let anew = link(&shell, "board", "--ttl 1h");
    wait_for("the new key", || {
        (server.ask(&format!("{anew}/live/board/master.m3u8")).0 == 200).then_some(())
    });
}
