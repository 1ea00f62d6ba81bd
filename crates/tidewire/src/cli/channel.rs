//! `tidewire channel`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use platform::{Channel, KeyInfo, NewKey, Platform, StreamRecord, now_ms};
use serde_json::json;

use super::args;
use super::block_on;
use super::output::{Output, Tone, minute};
use crate::config::{Loaded, ValidatedConfig};
use crate::exit::Exit;

pub(crate) fn run(command: args::Channel, loaded: &Loaded, out: &mut Output) -> Result<(), Exit> {
    block_on(async {
        let platform = Platform::open(&loaded.config.data_dir).await?;
        match command {
            args::Channel::Add { name, private, json } => {
                let (channel, key) = platform.create_channel_with_key(&name, private).await?;
                if json.json {
                    let (id, name) = (channel.id, channel.name);
                    return out
                        .json(&json!({ "id": id, "name": name, "stream_key": key.stream_key.expose() }));
                }
                welcome(out, &loaded.config, &channel, &key)
            }
            args::Channel::List(json) => list(&platform, json.json, out).await,
            args::Channel::Remove { name, json } => {
                let channel = platform.remove_channel(&name).await?;
                if json.json {
                    return out.json(&channel);
                }
                out.line(format!(
                    "Channel `{}` is removed, with its keys and its history.",
                    channel.name
                ))
            }
        }
    })?
}

fn welcome(out: &mut Output, config: &ValidatedConfig, channel: &Channel, key: &NewKey) -> Result<(), Exit> {
    let name = &channel.name;
    let secret = out.tint(Tone::Strong, key.stream_key.expose());
    let private = if channel.private { " (private)" } else { "" };
    out.line(format!("Channel `{name}`{private} is made.\n"))?;
    out.line(format!("  Stream key   {secret}"))?;
    out.line(format!(
        "               It is shown this once. `tidewire key add {name}` makes another.\n"
    ))?;
    obs(out, config, &secret)?;
    if let Some(base) = page_base(config) {
        out.line(format!("\n  Watch        {base}/watch/{name}"))?;
        out.line(format!("  HLS          {base}/live/{name}/master.m3u8"))?;
        out.line(format!("  DASH         {base}/live/{name}/manifest.mpd"))?;
    }
    Ok(())
}

/// What to type into OBS.
pub(super) fn obs(out: &mut Output, config: &ValidatedConfig, key: &str) -> Result<(), Exit> {
    let Some(rtmp) = config.rtmp.address else {
        return out.line("  RTMP is off in the configuration (`rtmp`), so nothing can be published yet.");
    };
    out.line("  OBS          Settings > Stream: Service `Custom...`")?;
    out.line(format!(
        "               Server       rtmp://{}/live",
        reachable(rtmp)
    ))?;
    out.line(format!("               Stream Key   {key}"))?;
    out.line("               Settings > Output: Keyframe Interval 2 s")
}

/// `http://HOST:PORT` of the pages.
pub(super) fn page_base(config: &ValidatedConfig) -> Option<String> {
    let tls = config
        .http
        .https
        .as_ref()
        .map(|https| format!("https://{}", reachable(https.address)));
    tls.or_else(|| {
        config
            .http
            .http
            .map(|address| format!("http://{}", reachable(address)))
    })
}

/// An address that can be typed elsewhere: a listener on all addresses is named by the one this machine uses to
/// reach others.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    // Connecting a UDP socket sends nothing; it only chooses a route. 192.0.2.0/24 is for documentation.
    let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| {
            socket
                .connect(("192.0.2.1", 9))
                .and_then(|()| socket.local_addr())
        })
        .map(|address| address.ip());
    SocketAddr::new(own.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), address.port())
}

async fn list(platform: &Platform, as_json: bool, out: &mut Output) -> Result<(), Exit> {
    let mut rows = Vec::new();
    let mut objects = Vec::new();
    for channel in platform.list_channels().await? {
        let keys = platform.list_keys(&channel.name).await?;
        let last = platform.list_streams(&channel.id, 1).await?.pop();
        let valid = keys.iter().filter(|key| is_valid(key)).count();
        if as_json {
            objects.push(json!({
                "id": channel.id, "name": channel.name, "private": channel.private,
                "created_at_ms": channel.created_at_ms, "valid_keys": valid, "last_stream": last,
            }));
        } else {
            let access = if channel.private { "private" } else { "public" };
            rows.push(vec![
                channel.name,
                access.to_owned(),
                valid.to_string(),
                last_stream(last.as_ref()),
            ]);
        }
    }
    if as_json {
        return out.json(&objects);
    }
    if rows.is_empty() {
        return out.line("There is no channel yet. `tidewire channel add NAME` makes one.");
    }
    out.table(&["NAME", "ACCESS", "KEYS", "LAST STREAM"], &rows)
}

fn is_valid(key: &KeyInfo) -> bool {
    key.revoked_at_ms.is_none() && key.expires_at_ms.is_none_or(|expiry| expiry > now_ms())
}

fn last_stream(record: Option<&StreamRecord>) -> String {
    let Some(record) = record else {
        return "never".to_owned();
    };
    let since = minute(record.ended_at_ms.unwrap_or(record.started_at_ms));
    format!("{} {since}", record.state.as_str())
}
