//! Mistakes of the person who starts it: one line that says what to do, exit code 2.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidewire_e2e::server::{Server, TempDir, binary, free_address};

/// Runs `serve` with a configuration that cannot work; exit code and stderr.
fn refused(config: &str, words: &[&str]) -> (Option<i32>, String) {
    let dir = TempDir::new().expect("temp dir");
    let file = dir.path().join("tidewire.yaml");
    std::fs::write(&file, config).expect("write");
    let (http, rtmp) = (
        free_address().expect("port").to_string(),
        free_address().expect("port").to_string(),
    );
    let mut command = Command::new(binary().expect("binary"));
    command.arg("serve").arg("--config").arg(&file);
    if !words.contains(&"--data-dir") {
        command.arg("--data-dir").arg(dir.path().join("data"));
    }
    if !words.contains(&"--http") {
        command.args(["--http", &http]);
    }
    command.args(["--rtmp", &rtmp]).args(words);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawn");
    let deadline = Instant::now() + Duration::from_secs(10);
    while child.try_wait().expect("wait").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("kill");
            panic!("it runs with {config:?} {words:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let out = child.wait_with_output().expect("output");
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stderr).into_owned(),
    )
}

#[test]
fn a_wrong_configuration_is_refused_with_line_and_column() {
    for (config, place, about) in [
        ("streming:\n  enable_abr: true\n", "tidewire.yaml:1", "streming"),
        (
            "streaming:\n  enable_abr: perhaps\n",
            "tidewire.yaml:2",
            "enable_abr",
        ),
        (
            "streaming:\n  segment_duration: -1s\n",
            "tidewire.yaml:2",
            "segment_duration",
        ),
    ] {
        let (code, stderr) = refused(config, &[]);
        assert_eq!(code, Some(2), "{config:?}: {stderr}");
        assert!(
            stderr.contains(place) && stderr.contains(about),
            "{config:?}: {stderr}"
        );
        assert_eq!(stderr.trim().lines().count(), 1, "one line: {stderr}");
    }
}

#[test]
fn a_taken_port_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("address").to_string();
    let (code, stderr) = refused("", &["--http", &address]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
    assert_eq!(stderr.trim().lines().count(), 1, "one line: {stderr}");
}

#[test]
fn a_data_dir_that_cannot_be_made_is_named() {
    let dir = TempDir::new().expect("temp dir");
    // A file in the way works as root, too; permissions would not.
    let file = dir.path().join("occupied");
    std::fs::write(&file, "x").expect("write");
    let below = file.join("data").display().to_string();
    let (code, stderr) = refused("", &["--data-dir", &below]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains(&below), "{stderr}");
}

#[test]
fn channels_and_keys_are_managed_while_the_server_runs() {
    let server = Server::start().expect("start");
    let key = server.add_channel("stage").expect("channel");
    assert!(key.len() >= 26, "160 bits: {key}");
    let list = server.command(&["channel", "list"]).expect("list");
    assert!(String::from_utf8_lossy(&list.stdout).contains("stage"));
    assert!(
        !String::from_utf8_lossy(&list.stdout).contains(&key),
        "a key is shown once"
    );
    let offline = |view: &serde_json::Value| view["state"] == "offline";
    server
        .wait_channel("stage", Duration::from_secs(5), "the new channel", offline)
        .expect("known soon");
    let out = server.command(&["channel", "remove", "stage"]).expect("remove");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut gone = server.get("/api/v1/channels/stage").expect("answer");
    while gone.status != 404 {
        assert!(
            Instant::now() < deadline,
            "a removed channel is still there: {}",
            gone.text()
        );
        std::thread::sleep(Duration::from_millis(50));
        gone = server.get("/api/v1/channels/stage").expect("answer");
    }
    assert_eq!(gone.header("content-type"), Some("application/problem+json"));
    assert!(gone.text().contains("channel_not_found"), "{}", gone.text());
}
