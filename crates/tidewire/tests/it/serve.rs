//! The running server: who may be seen, who is sent away, and how it ends.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtmp::{ClientConfig, ClientEvent, ClientOutput, ClientSession, HandshakeKind};

use crate::shell::{Server, Shell};

const PATIENCE: Duration = Duration::from_secs(30);

/// A publisher that was accepted and sends nothing.
struct Publisher {
    socket: TcpStream,
    client: ClientSession,
}

impl Publisher {
    fn new(server: &Server, stream_key: &str) -> Self {
        let socket = TcpStream::connect(server.address("RTMP")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let client = ClientSession::new(ClientConfig {
            app: "live".into(),
            tc_url: "rtmp://localhost/live".into(),
            stream_key: stream_key.into(),
            chunk_bytes: 4096,
            handshake: HandshakeKind::Simple,
            seed: 1,
        });
        let mut publisher = Self { socket, client };
        while !publisher.client.is_publishing() {
            assert!(publisher.step().is_some(), "it was not accepted");
        }
        publisher
    }

    /// Sends and reads once; what the server said. `None`: it hung up.
    fn step(&mut self) -> Option<Vec<ClientEvent>> {
        let mut events = Vec::new();
        let mut take = |client: &mut ClientSession, socket: &mut TcpStream| {
            while let Some(output) = client.poll_output() {
                match output {
                    ClientOutput::Send(bytes) => socket.write_all(&bytes).unwrap(),
                    ClientOutput::Event(event) => events.push(event),
                }
            }
        };
        take(&mut self.client, &mut self.socket);
        let mut bytes = [0; 4096];
        let count = self.socket.read(&mut bytes).unwrap();
        self.client
            .handle_input(&mut BytesMut::from(&bytes[..count]))
            .unwrap();
        take(&mut self.client, &mut self.socket);
        (count > 0).then_some(events)
    }

    /// What the server says until it hangs up.
    fn last_words(mut self) -> String {
        let mut said = Vec::new();
        while let Some(events) = self.step() {
            said.extend(events);
        }
        format!("{said:?}")
    }
}

fn serve(shell: &Shell) -> Server {
    shell.serve("--http 127.0.0.1:0 --rtmp 127.0.0.1:0")
}

pub(crate) fn new_key(shell: &Shell, command: &str) -> String {
    let outcome = shell.quiet(&format!("{command} --json"));
    let made: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    made["stream_key"].as_str().unwrap().to_owned()
}

pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `state` and `stream_id` of a channel that is listed.
pub(crate) fn seen(server: &Server, channel: &str) -> Option<(String, String)> {
    let view: serde_json::Value =
        serde_json::from_str(&server.get(&format!("/api/v1/channels/{channel}"))).ok()?;
    let text = |name: &str| view[name].as_str().unwrap_or_default().to_owned();
    view["state"]
        .is_string()
        .then(|| (text("state"), text("stream_id")))
}

#[test]
fn a_revoked_key_ends_its_broadcast_at_once() {
    let shell = Shell::new();
    let key = new_key(&shell, "channel add stage");
    let server = serve(&shell);
    let publisher = Publisher::new(&server, &key);
    let (_, first) = wait_for("the broadcast", || {
        seen(&server, "stage").filter(|(_, stream)| !stream.is_empty())
    });
    assert_eq!(shell.quiet(&format!("key revoke stage {key}")).code, 0);
    assert!(publisher.last_words().contains("revoked"));
    let (state, _) = wait_for("its end", || {
        seen(&server, "stage").filter(|(state, _)| state != "starting")
    });
    assert_eq!(state, "ended");
    let second = Publisher::new(&server, &new_key(&shell, "key add stage"));
    wait_for("a new stream", || {
        seen(&server, "stage").filter(|(state, stream)| state == "starting" && *stream != first)
    });
    drop(second);
}

#[test]
fn a_signed_key_publishes_until_its_signing_key_is_revoked() {
    let shell = Shell::new();
    new_key(&shell, "channel add stage");
    let key = new_key(&shell, "key sign stage --ttl 1h");
    let server = serve(&shell);
    let publisher = Publisher::new(&server, &key);
    wait_for("the broadcast", || {
        seen(&server, "stage").filter(|(_, stream)| !stream.is_empty())
    });
    let keys: serde_json::Value =
        serde_json::from_str(&shell.quiet("signing-key list --json").stdout).unwrap();
    let signer = keys[0]["id"].as_str().unwrap();
    assert_eq!(shell.quiet(&format!("signing-key revoke {signer}")).code, 0);
    assert!(publisher.last_words().contains("revoked"));
}

#[test]
fn a_new_channel_has_no_part_in_a_removed_one_of_its_name() {
    let shell = Shell::new();
    let key = new_key(&shell, "channel add stage --private");
    let server = serve(&shell);
    // One that is live, and one that waits for its publisher.
    for leaves_first in [false, true] {
        let publisher = Publisher::new(&server, &key_of_round(&shell, &key, leaves_first));
        wait_for("the broadcast", || {
            server
                .get("/metrics")
                .contains("tidewire_stream_state{")
                .then_some(())
        });
        if leaves_first {
            drop(publisher);
            wait_for("the grace window", || {
                server.get("/metrics").contains("reconnecting").then_some(())
            });
            assert_eq!(shell.quiet("channel remove stage").code, 0);
        } else {
            assert_eq!(shell.quiet("channel remove stage").code, 0);
            assert!(publisher.last_words().contains("channel was removed"));
        }
        let key = new_key(&shell, "channel add stage");
        let (state, stream) = wait_for("the new channel", || seen(&server, "stage"));
        assert_eq!((state.as_str(), stream.as_str()), ("offline", ""));
        let publisher = Publisher::new(&server, &key);
        wait_for("its first stream", || {
            seen(&server, "stage").filter(|(state, _)| state == "starting")
        });
        drop(publisher);
    }
}

/// The first round has its channel already.
fn key_of_round(shell: &Shell, first: &str, is_second: bool) -> String {
    if !is_second {
        return first.to_owned();
    }
    assert_eq!(shell.quiet("channel remove stage").code, 0);
    new_key(shell, "channel add stage --private")
}

#[test]
fn metrics_do_not_name_private_channels() {
    let shell = Shell::new();
    let secret = new_key(&shell, "channel add secret-place --private");
    let open = new_key(&shell, "channel add open-place");
    let server = serve(&shell);
    let publishers = [Publisher::new(&server, &secret), Publisher::new(&server, &open)];
    let metrics = wait_for("both broadcasts", || {
        let text = server.get("/metrics");
        (text.matches("tidewire_stream_state{").count() == 2).then_some(text)
    });
    assert!(metrics.contains("channel=\"open-place\"") && metrics.contains("channel=\"ch_"));
    assert!(!metrics.contains("secret-place"), "{metrics}");
    drop(publishers);
}

/// A request with a token: status line and JSON.
fn ask(server: &Server, token: &str, method: &str, path: &str) -> (String, serde_json::Value) {
    let mut socket = TcpStream::connect(server.address("HTTP")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap_or_default().to_owned();
    (status, serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn an_operator_stops_a_stream_and_the_outbox_tells_of_it() {
    let shell = Shell::new();
    let key = new_key(&shell, "channel add stage --private");
    let made = shell
        .quiet("token admin --scope publish --scope read --json")
        .stdout;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let token = made["token"].as_str().unwrap();
    let server = serve(&shell);
    let publisher = Publisher::new(&server, &key);
    let id = wait_for("the stream", || {
        let (_, list) = ask(&server, token, "GET", "/api/v1/streams?channel=stage");
        list["data"][0]["id"].as_str().map(str::to_owned)
    });
    let (_, stats) = ask(&server, token, "GET", &format!("/api/v1/streams/{id}/stats"));
    assert_eq!(stats["viewers"], 0, "{stats}");
    let events = || {
        let (_, page) = ask(&server, token, "GET", "/api/v1/events?channel=stage");
        let events = page["data"].as_array().unwrap().iter();
        events
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    wait_for("the publisher's event", || {
        events().contains(&"publisher.connected".to_owned()).then_some(())
    });
    let (status, _) = ask(&server, token, "POST", &format!("/api/v1/streams/{id}/stop"));
    assert!(status.contains("202"), "{status}");
    assert!(publisher.last_words().contains("operator has ended"));
    let told = wait_for("the end's events", || {
        Some(events()).filter(|told| told.contains(&"publisher.disconnected".to_owned()))
    });
    for kind in ["channel.created", "key.created", "stream.started", "stream.ended"] {
        assert!(told.contains(&kind.to_owned()), "{told:?}");
    }
    let (status, _) = ask(&server, token, "POST", &format!("/api/v1/streams/{id}/stop"));
    assert!(status.contains("409"), "{status}");
}

#[test]
fn an_open_page_does_not_hold_up_the_end() {
    let shell = Shell::new();
    let key = new_key(&shell, "channel add stage");
    let server = serve(&shell);
    let publisher = Publisher::new(&server, &key);
    wait_for("readiness", || (server.get("/readyz") == "ready\n").then_some(()));
    let mut page = TcpStream::connect(server.address("HTTP")).unwrap();
    page.set_read_timeout(Some(PATIENCE)).unwrap();
    page.write_all(b"GET /api/v1/live HTTP/1.1\r\nhost: t\r\n\r\n")
        .unwrap();
    let mut first = [0; 16];
    page.read_exact(&mut first).unwrap();
    let asked = Instant::now();
    assert_eq!(server.terminate(), Some(0));
    // The drain of connections that do not end by themselves takes five seconds.
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    assert!(publisher.last_words().contains("restarting"));
    // What the shutdown ended is on record as ended.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let states = runtime.block_on(async {
        let platform = platform::Platform::open(&shell.path().join("tidewire-data"))
            .await
            .unwrap();
        let channel = platform.channel("stage").await.unwrap();
        platform.list_streams(&channel.id, 9).await.unwrap()
    });
    let states: Vec<_> = states.iter().map(|record| record.state).collect();
    assert_eq!(states, [platform::StreamState::Ended]);
}
