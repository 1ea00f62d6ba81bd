//! Whether the configured addresses are free, and who has them if not.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use super::Check;
use crate::config::ValidatedConfig;
use crate::exit::Exit;

/// A process that listens.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    command: String,
}

pub(super) fn check(config: &ValidatedConfig) -> Vec<Check> {
    addresses(config)
        .map(|(key, address)| port(key, address))
        .collect()
}

/// Refuses to start when an address cannot be listened on: one line for each, with what to do.
///
/// The server's own sockets share their ports between cores (SO_REUSEPORT), so a second server of the same user could
/// bind beside the first unnoticed; this plain bind cannot.
pub(crate) fn require(config: &ValidatedConfig) -> Result<(), Exit> {
    let lines: Vec<String> = addresses(config)
        .filter_map(|(key, address)| {
            let error = TcpListener::bind(address).err()?;
            let (found, advice) = explain(key, address, &error, holder(address).as_ref());
            Some(format!("{key}: {found}; {advice}"))
        })
        .collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(Exit::start(lines.join("\n")))
    }
}

fn addresses(config: &ValidatedConfig) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let https = config.http.https.as_ref().map(|https| https.address);
    let rtmps = config.rtmp.rtmps.as_ref().map(|rtmps| rtmps.address);
    [
        ("http", config.http.http),
        ("https", https),
        ("rtmp", config.rtmp.address),
        ("rtmps", rtmps),
    ]
    .into_iter()
    .filter_map(|(key, address)| address.map(|address| (key, address)))
}

fn port(key: &str, address: SocketAddr) -> Check {
    let name = format!("port.{key}");
    let Err(error) = TcpListener::bind(address) else {
        return Check::ok(&name, format!("{address} is free"));
    };
    match holder(address) {
        Some(Holder { pid, command }) if command == "tidewire" => {
            Check::ok(&name, format!("{address} is served by tidewire (process {pid})"))
        }
        holder => {
            let (found, advice) = explain(key, address, &error, holder.as_ref());
            Check::fail(&name, found, advice)
        }
    }
}

/// What was found and what to do, for an address that cannot be listened on.
fn explain(key: &str, address: SocketAddr, error: &io::Error, holder: Option<&Holder>) -> (String, String) {
    match (error.kind(), holder) {
        (io::ErrorKind::AddrInUse, Some(Holder { pid, command })) => (
            format!("{address} is in use by {command} (process {pid})"),
            format!("stop that program, or set `{key}` to another address"),
        ),
        (io::ErrorKind::AddrInUse, None) => (
            format!("{address} is in use by a program that /proc does not show to this user"),
            format!("`ss -ltnp` as root names it; stop it, or set `{key}` to another address"),
        ),
        (io::ErrorKind::PermissionDenied, _) => (
            format!("this user may not listen on {address}"),
            format!("set `{key}` to a port from 1024 on, or allow it with `setcap cap_net_bind_service=+ep`"),
        ),
        (io::ErrorKind::AddrNotAvailable, _) => (
            format!("this machine does not have the address {}", address.ip()),
            format!(
                "set `{key}` to one of its own, or to 0.0.0.0:{} for all",
                address.port()
            ),
        ),
        _ => (
            format!("cannot listen on {address}: {error}"),
            format!("set `{key}` to another address"),
        ),
    }
}

/// Who listens at the address or at all addresses with its port, as far as /proc lets us see.
fn holder(address: SocketAddr) -> Option<Holder> {
    let inodes: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, address))
        .collect();
    let links: Vec<String> = inodes
        .into_iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if links.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let mut files = fs::read_dir(entry.path().join("fd")).ok()?.flatten();
        let found = files.any(|file| {
            fs::read_link(file.path())
                .is_ok_and(|link| links.iter().any(|wanted| link.as_os_str() == wanted.as_str()))
        });
        let command = fs::read_to_string(entry.path().join("comm"))
            .ok()?
            .trim()
            .to_owned();
        found.then_some(Holder { pid, command })
    })
}

/// Inodes of the listening sockets in a /proc/net/tcp table that stand in the way of `address` (proc_pid_net(5)).
fn listening(table: &str, address: SocketAddr) -> Vec<u64> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            let (ip, port) = local.rsplit_once(':')?;
            let same_port = u16::from_str_radix(port, 16) == Ok(address.port());
            let all = ip.bytes().all(|digit| digit == b'0') || address.ip().is_unspecified();
            let same_ip = all || ip == hex(address.ip());
            (*state == LISTEN && same_port && same_ip).then(|| inode.parse().ok())?
        })
        .collect()
}

/// An address as /proc/net/tcp writes it: 32-bit words in the machine's byte order.
fn hex(ip: IpAddr) -> String {
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("addresses are whole 32-bit words");
        format!("{:08X}", u32::from_ne_bytes(bytes))
    };
    match ip {
        IpAddr::V4(ip) => word(&ip.octets()),
        IpAddr::V6(ip) => ip.octets().chunks(4).map(word).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_said_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let found = holder(address).unwrap();
        assert_eq!(found.pid, std::process::id());
        let check = port("http", address);
        assert_eq!(check.status, super::super::Status::Fail);
        assert!(
            check.found.contains(&format!("(process {})", found.pid)),
            "{}",
            check.found
        );
        drop(listener);
        assert_eq!(port("http", address).status, super::super::Status::Ok);
    }
}
