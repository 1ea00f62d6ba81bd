//! Streams are recorded by a real publisher, and are titles when they end.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use store::{Cid, Codec};

use crate::serve::{new_key, seen, wait_for};
use crate::shell::{Server, Shell};

/// A picture and a tone in real time, killed when it is dropped.
struct Encoder(Child);

impl Encoder {
    fn start(server: &Server, key: &str, seconds: u32) -> Self {
        let url = format!("rtmp://{}/live/{key}", server.address("RTMP"));
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-hide_banner", "-loglevel", "error", "-re"]);
        command.args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]);
        command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
        command.args([
            "-t",
            &seconds.to_string(),
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ]);
        command.args([
            "-tune",
            "zerolatency",
            "-pix_fmt",
            "yuv420p",
            "-g",
            "50",
            "-b:v",
            "300k",
        ]);
        command.args(["-c:a", "aac", "-b:a", "64k", "-f", "flv", &url]);
        Self(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn shell() -> (Shell, String) {
    let mut shell = Shell::new();
    shell.write(
        "tidewire.yaml",
        "reconnect_grace: 0s\nstreaming:\n  enable_abr: false\n",
    );
    let key = new_key(&shell, "channel add stage");
    (shell, key)
}

fn serve(shell: &Shell) -> Server {
    shell.serve("--http 127.0.0.1:0 --rtmp 127.0.0.1:0")
}

/// Head and body of the answer to a GET.
fn get(server: &Server, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(server.address("HTTP")).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head.to_lowercase(), answer.split_off(end + 4))
}

/// Seconds of pictures that ffprobe decodes from the title's HLS.
fn played(server: &Server, id: &str) -> f64 {
    let url = format!("http://{}/vod/{id}/master.m3u8", server.address("HTTP"));
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-count_frames"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", &url])
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
    let frames = String::from_utf8(output.stdout).unwrap();
    let first = frames.split_whitespace().next().unwrap_or_default();
    first.trim_matches(',').parse::<f64>().unwrap() / 25.0
}

/// Paths of all objects.
fn objects(shell: &Shell) -> Vec<(String, Vec<u8>)> {
    let folder = shell.path().join("tidewire-data/store/objects");
    let list = |path: &Path| fs::read_dir(path).map_or(Vec::new(), |all| all.flatten().collect());
    let mut objects = Vec::new();
    for shard in list(&folder) {
        for file in list(&shard.path()) {
            let name = format!("{}{}", shard.file_name().display(), file.file_name().display());
            objects.push((name, fs::read(file.path()).unwrap_or_default()));
        }
    }
    objects
}

fn assert_names_are_hashes(shell: &Shell) {
    for (name, bytes) in objects(shell) {
        let digest = *Cid::of(Codec::Raw, &bytes).digest();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, name);
    }
}

#[test]
fn a_stream_is_a_title_within_a_second_of_its_end() {
    let (shell, key) = shell();
    assert!(shell.quiet("library list").stdout.contains("no title yet"));
    let server = serve(&shell);
    let mut encoder = Encoder::start(&server, &key, 12);
    let (_, id) = wait_for("the broadcast", || {
        seen(&server, "stage").filter(|(state, _)| state == "live")
    });
    let segment = wait_for("a live segment", || {
        let playlist = server.get("/live/stage/source/playlist.m3u8");
        playlist
            .lines()
            .find(|line| line.ends_with("seg-0.m4s"))
            .map(str::to_owned)
    });
    let (_, live) = get(&server, &format!("/live/stage/source/{segment}"), "");
    let early = server.get(&format!("/vod/{id}/master.m3u8"));
    assert!(early.contains("title_not_found"), "it is no title yet: {early}");
    encoder.0.wait().unwrap();
    wait_for("its end", || {
        seen(&server, "stage").filter(|(state, _)| state == "ended")
    });
    let ended = Instant::now();
    wait_for("the title", || {
        let (head, _) = get(&server, &format!("/vod/{id}/master.m3u8"), "");
        head.starts_with("http/1.1 200").then_some(())
    });
    let after = ended.elapsed();
    assert!(after < Duration::from_secs(1), "{after:?}");

    let seconds = played(&server, &id);
    assert!((11.0..=12.1).contains(&seconds), "{seconds}");
    assert_names_are_hashes(&shell);
    let (head, whole) = get(&server, &format!("/vod/{id}/source/seg-0.m4s"), "");
    assert!(whole == live, "the title has the bytes that were live");
    let cid = Cid::of(Codec::Raw, &whole);
    assert!(
        head.contains(&format!("etag: \"{cid}\"")) && head.contains("immutable"),
        "{head}"
    );
    let (head, part) = get(
        &server,
        &format!("/vod/{id}/source/seg-0.m4s"),
        "range: bytes=100-299\r\n",
    );
    assert!(
        head.starts_with("http/1.1 206") && part == whole[100..300],
        "{head}"
    );
    let known = format!("if-none-match: \"{cid}\"\r\n");
    let (head, _) = get(&server, &format!("/vod/{id}/source/seg-0.m4s"), &known);
    assert!(head.starts_with("http/1.1 304"), "{head}");
    let mpd = server.get(&format!("/vod/{id}/manifest.mpd"));
    assert!(
        mpd.contains("type=\"static\"") && mpd.contains("seg-$Number$.m4s"),
        "{mpd}"
    );
    assert!(server.get("/vod/nothing/master.m3u8").contains("title_not_found"));

    let videos: serde_json::Value = serde_json::from_str(&server.get("/api/v1/videos")).unwrap();
    let video: serde_json::Value =
        serde_json::from_str(&server.get(&format!("/api/v1/videos/{id}"))).unwrap();
    assert_eq!(
        (&videos["data"][0], &videos["next"]),
        (&video, &serde_json::Value::Null)
    );
    assert_eq!(
        (video["id"].as_str(), video["channel"].as_str()),
        (Some(&*id), Some("stage"))
    );
    assert_eq!(
        (&video["complete"], &video["hls"]),
        (&true.into(), &format!("/vod/{id}/master.m3u8").into())
    );
    assert!(
        (11_000..=12_100).contains(&video["duration_ms"].as_u64().unwrap()),
        "{video}"
    );
    assert_eq!(video["renditions"][0]["height"], 180);
    let metrics = server.get("/metrics");
    assert!(
        metrics.contains("tidewire_store_segments_total ")
            || metrics.contains("tidewire_store_segments_total{")
    );
    assert!(metrics.contains("tidewire_recordings{} 0.0"), "{metrics}");

    // It is there after a restart, and not for everybody once its channel is gone.
    assert_eq!(server.terminate(), Some(0));
    let server = serve(&shell);
    assert!((11.0..=12.1).contains(&played(&server, &id)));
    assert_eq!(shell.quiet("channel remove stage").code, 0);
    wait_for("its end for viewers", || {
        let answer = server.get(&format!("/vod/{id}/master.m3u8"));
        answer.contains("title_not_found").then_some(())
    });
}

#[test]
fn a_killed_server_leaves_a_title_up_to_the_last_whole_segment() {
    let (shell, key) = shell();
    let server = serve(&shell);
    let encoder = Encoder::start(&server, &key, 120);
    let (_, id) = wait_for("the broadcast", || {
        seen(&server, "stage").filter(|(state, _)| state == "live")
    });
    // Two inits and three segments of pictures and of sound.
    wait_for("recorded segments", || (objects(&shell).len() >= 8).then_some(()));
    drop(server);
    drop(encoder);
    let server = serve(&shell);
    let seconds = played(&server, &id);
    assert!(seconds >= 6.0, "{seconds}");
    assert_names_are_hashes(&shell);
    let listed = shell.quiet("library list --json").stdout;
    let titles: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(
        (&titles[0]["id"], &titles[0]["state"]),
        (&id.as_str().into(), &"cut".into()),
        "{listed}"
    );
    assert_eq!(shell.quiet(&format!("library pin {id}")).code, 0);
    assert!(shell.quiet("library list").stdout.contains("cut, pinned"));
    assert_eq!(shell.quiet(&format!("library unpin {id}")).code, 0);
    let doctor = shell.quiet("doctor --quick --json").stdout;
    assert!(
        doctor.contains("\"recording\"") && doctor.contains("of 18.6 GiB are used"),
        "{doctor}"
    );
    // A command removes it, and the server makes room.
    assert_eq!(shell.quiet(&format!("library remove {id}")).code, 0);
    wait_for("its removal", || objects(&shell).is_empty().then_some(()));
    assert!(
        server
            .get(&format!("/vod/{id}/master.m3u8"))
            .contains("title_not_found")
    );
    let again = shell.quiet(&format!("library remove {id}"));
    assert!(
        again.code == 1 && again.stderr.contains("there is no title"),
        "{}",
        again.stderr
    );
    let temp = shell.path().join("tidewire-data/store/tmp");
    assert_eq!(fs::read_dir(temp).unwrap().count(), 0);
}
