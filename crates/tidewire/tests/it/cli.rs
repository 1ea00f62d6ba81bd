//! Commands, their words and their exit codes.

use std::net::TcpListener;

use crate::shell::Shell;

/// Fixed addresses, so that what is printed does not depend on the machine.
const LOOPBACK: &str = "http: 127.0.0.1:8080\nrtmp: 127.0.0.1:1935\n";

#[test]
fn help() {
    let mut shell = Shell::new();
    for command in [
        "--help",
        "serve --help",
        "channel --help",
        "channel add --help",
        "key --help",
        "key add --help",
        "key sign --help",
        "key rotate --help",
        "key revoke --help",
        "token admin --help",
        "token verify --help",
        "sign --help",
        "signing-key --help",
        "config --help",
        "config print --help",
        "doctor --help",
    ] {
        shell.run(command);
    }
    shell.check("help");
}

#[test]
fn channels_and_keys() {
    let mut shell = Shell::new();
    shell.write("tidewire.yaml", LOOPBACK);
    for command in [
        "channel list",
        "channel add stage",
        "channel add stage",
        "channel add Stage",
        "channel add board --private",
        "channel list",
        "key add stage --label guest --expires 12h",
        "key list stage",
        "key list nowhere",
        "key rotate stage tw_0",
        "key revoke stage tw_0",
        "channel remove board",
        "channel remove board",
        "channel list --json",
    ] {
        shell.run(command);
    }
    shell.check("channels");
}

#[test]
fn channel_add_json_is_what_scripts_expect() {
    let shell = Shell::new();
    let outcome = shell.quiet("channel add stage --json");
    assert_eq!(
        (outcome.code, outcome.stdout.lines().count()),
        (0, 1),
        "{}",
        outcome.stderr
    );
    let made: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let fields: Vec<&str> = made.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["id", "name", "stream_key"]);
    assert!(made["id"].as_str().unwrap().starts_with("ch_") && made["name"] == "stage");
    let key = made["stream_key"].as_str().unwrap();
    assert!(key.starts_with("tw_") && key.len() == 35, "{key}");
    // It can be revoked by itself, and its prefix is all that a list shows.
    let listed = shell.quiet("key list stage --json").stdout;
    assert!(listed.contains(&format!("\"{}\"", &key[..7])) && !listed.contains(key));
    let rotated = shell.quiet(&format!("key rotate stage {key} --overlap 1h --json"));
    let rotated: serde_json::Value = serde_json::from_str(&rotated.stdout).unwrap();
    assert!(rotated["stream_key"].as_str().unwrap().starts_with("tw_") && rotated["label"] == "first key");
    assert!(rotated["old"]["expires_at_ms"].is_i64() && rotated["expires_at_ms"].is_null());
    let revoked = shell.quiet(&format!("key revoke stage {key} --json"));
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    assert!(
        !revoked.stdout.contains(key) && revoked.stdout.contains("\"revoked_at_ms\":1"),
        "{}",
        revoked.stdout
    );
}

#[test]
fn admin_tokens() {
    let mut shell = Shell::new();
    for command in [
        "token admin list",
        "token admin --label ops",
        "token admin list",
        "token admin revoke tok_0",
        "token admin --expires soon",
    ] {
        shell.run(command);
    }
    shell.check("tokens");
}

#[test]
fn links() {
    let mut shell = Shell::new();
    shell.write("tidewire.yaml", LOOPBACK);
    shell.quiet("channel add board --private");
    for command in [
        "signing-key list",
        "sign /watch/board",
        "sign /watch/nowhere --ttl 1h",
        "sign /metrics --ttl 1h",
        "sign /watch/board --ttl 1h --ip 203.0.113.300",
        "sign /watch/board --ttl 1h --not-before tomorrow",
        "sign /watch/board --ttl 1h --not-before 2020-01-01T00:00:00Z",
        "sign /watch/board --ttl 2h",
        "sign /live/board/720p/playlist.m3u8 --ttl 2h --not-before 30m --ip 203.0.113.77/24",
        "signing-key rotate",
        "signing-key revoke sig_0",
    ] {
        shell.run(command);
    }
    let made: serde_json::Value =
        serde_json::from_str(&shell.quiet("signing-key list --json").stdout).unwrap();
    let first = made[0]["id"].as_str().unwrap().to_owned();
    shell.run(&format!("signing-key revoke {first}"));
    shell.run("signing-key list");
    shell.check("links");
    let shell = Shell::new();
    shell.quiet("channel add board");
    let outcome = shell.quiet("sign /watch/board --ttl 1h --ip 2001:db8::/48 --json");
    let link: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let token = link["token"].as_str().unwrap();
    assert_eq!(link["path"], format!("/t/{token}/watch/board"));
    assert!(
        link["url"]
            .as_str()
            .unwrap()
            .ends_with(&format!(":8080/t/{token}/watch/board"))
    );
    assert_eq!(
        (link["opens"].as_str(), link["ip"].as_str()),
        (Some("/live/board/"), Some("2001:db8::/48"))
    );
    let verified = shell.quiet(&format!(
        "token verify {token} --path /watch/board --ip 2001:db8::7"
    ));
    assert_eq!(verified.code, 0, "{}", verified.stdout);
    let refused = shell.quiet(&format!(
        "token verify /t/{token}/watch/other --ip 192.0.2.1 --json"
    ));
    let report: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((refused.code, report["code"].as_str()), (1, Some("token_ip")));
    let failed = shell
        .quiet(&format!("token verify /t/{token}/watch/other --ip 192.0.2.1"))
        .stdout;
    assert!(
        failed.contains("fail  ip          This token is for another network address."),
        "{failed}"
    );
    assert!(
        failed.contains("fail  path        This token is for something else."),
        "{failed}"
    );
    assert!(failed.contains("ok    signature\n"), "{failed}");
    assert!(link["not_before_ms"].is_null() && link["key_id"].as_str().unwrap().starts_with("sig_"));
}

#[test]
fn configuration() {
    let mut shell = Shell::new();
    shell.run("config check");
    shell.run("config print");
    shell.write(
        "tidewire.yaml",
        "streaming:\n  segment_duraton: 2s\n  window: 5\nlog: { level: debug }\n",
    );
    shell.run("config check");
    shell.run("config check --json");
    shell.run("serve");
    shell.run("channel list");
    shell.write("tidewire.yaml", "rtmp: off\n");
    shell.run("config check --data-dir elsewhere");
    shell.run("config check --config none.yaml");
    shell.run("serve --srt :8890");
    shell.run("serve --http nowhere");
    shell.run("serve --htpp :80");
    shell.check("configuration");
}

#[test]
fn a_port_in_use_ends_the_start() {
    let shell = Shell::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let outcome = shell.quiet(&format!("serve --http {address} --rtmp off"));
    assert_eq!(
        (outcome.code, outcome.stderr.lines().count()),
        (2, 1),
        "{}",
        outcome.stderr
    );
    let pid = std::process::id();
    let words = [
        format!("error: http: {address} is in use by "),
        format!("(process {pid})"),
        "set `http` to another address".to_owned(),
    ];
    assert!(
        words.iter().all(|word| outcome.stderr.contains(word)),
        "{}",
        outcome.stderr
    );
}

#[test]
fn commands_work_beside_the_server_and_a_second_server_does_not() {
    let shell = Shell::new();
    let server = shell.serve("--http 127.0.0.1:0 --rtmp off");
    for command in [
        "channel add stage --json",
        "key add stage",
        "channel list",
        "token admin --json",
    ] {
        let outcome = shell.quiet(command);
        assert_eq!(outcome.code, 0, "{command}: {}", outcome.stderr);
    }
    let second = shell.quiet("serve --http 127.0.0.1:0 --rtmp off");
    assert_eq!(
        (second.code, second.stderr.lines().count()),
        (2, 1),
        "{}",
        second.stderr
    );
    let named = format!(
        "another tidewire server uses this data directory (process {})",
        server.id()
    );
    assert!(second.stderr.contains(&named), "{}", second.stderr);
    drop(server);
    // What a killed server held is free.
    drop(shell.serve("--http 127.0.0.1:0 --rtmp off"));
}

#[test]
fn an_unwritable_data_dir_is_said() {
    let mut shell = Shell::new();
    shell.write("file", "a file, not a directory\n");
    shell.run("channel list --data-dir file/data");
    let damaged = shell.path().join("damaged");
    std::fs::create_dir(&damaged).unwrap();
    std::fs::write(damaged.join("tidewire.db"), "x".repeat(4096)).unwrap();
    shell.run("channel list --data-dir damaged");
    shell.check("data_dir");
}

#[test]
fn doctor_speaks_json() {
    let shell = Shell::new();
    let outcome = shell.quiet("doctor --quick --json");
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(outcome.code == 0, report["ok"] == true);
    let names: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    for name in [
        "config",
        "data",
        "disk",
        "port.http",
        "port.rtmp",
        "open files",
        "clock",
        "time sync",
        "cpu",
        "pages",
        "ffmpeg",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    // It looks and leaves nothing behind.
    assert_eq!(std::fs::read_dir(shell.path()).unwrap().count(), 0);
}

#[test]
fn doctor_fails_for_what_stops_the_start() {
    let shell = Shell::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    std::fs::write(
        shell.path().join("tidewire.yaml"),
        format!("http: {address}\nrtmp: off\n"),
    )
    .unwrap();
    let outcome = shell.quiet("doctor --quick");
    assert_eq!(outcome.code, 1, "{}", outcome.stdout);
    let line = outcome
        .stdout
        .lines()
        .find(|line| line.contains("port.http"))
        .unwrap();
    assert!(
        line.starts_with("fail") && line.contains("is in use by"),
        "{line}"
    );
    assert!(
        outcome.stdout.ends_with("1 must be put right first.\n"),
        "{}",
        outcome.stdout
    );
}
