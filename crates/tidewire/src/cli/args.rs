//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Live media server: takes a broadcast from OBS and gets it to any number of browsers, about a second behind.
#[derive(Debug, Parser)]
#[command(
    name = "tidewire",
    version,
    disable_help_subcommand = true,
    after_help = "A first broadcast:\n  tidewire channel add stage     makes a channel and prints its stream key\n  tidewire serve                 starts the server\n  tidewire doctor                says what this machine can do and what is missing\n\nEvery command takes the data directory from --data-dir, TIDEWIRE_DATA_DIR, tidewire.yaml, or ./tidewire-data,\nand works while the server runs."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Configuration file [default: ./tidewire.yaml, /etc/tidewire/tidewire.yaml, if there]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "TIDEWIRE_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Directory of the database [default: tidewire-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server
    #[command(
        after_help = "Examples:\n  tidewire serve\n  tidewire serve --http 127.0.0.1:8080 --data-dir /var/lib/tidewire\n  tidewire serve --config /etc/tidewire/tidewire.yaml"
    )]
    Serve(Serve),
    /// Make, list and remove channels
    #[command(subcommand)]
    Channel(Channel),
    /// Make, list, sign, rotate and revoke the stream keys of a channel
    #[command(subcommand)]
    Key(Key),
    /// Make, list and revoke tokens for the API
    #[command(subcommand)]
    Token(Token),
    /// Make a link that opens a channel, private or not, for a time
    #[command(
        after_help = "PATH is a page (/watch/CHANNEL), a playlist or any path of the channel: the link opens the channel with all that\nbelongs to it. A path that lies deeper (/live/CHANNEL/720p/playlist.m3u8) opens its folder only.\n\nExamples:\n  tidewire sign /watch/board --ttl 2h\n  tidewire sign /live/board/master.m3u8 --ttl 30m --ip 203.0.113.0/24\n  tidewire sign /watch/board --ttl 1h --not-before 2026-12-01T18:00:00Z --json"
    )]
    Sign(Sign),
    /// Exchange the keys that sign links
    #[command(subcommand)]
    SigningKey(SigningKey),
    /// List, remove and keep titles: streams that were recorded
    #[command(subcommand)]
    Library(Library),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(Config),
    /// Look at this machine: FFmpeg, encoders, ports, limits, disk, clock
    #[command(
        after_help = "Exit code 0: nothing failed (warnings may be there), 1: something failed.\n\nExamples:\n  tidewire doctor\n  tidewire doctor --quick --json"
    )]
    Doctor(Doctor),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address without TLS, or `off` [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) http: Option<String>,
    /// Address with TLS, or `off`; needs tls.certificate and tls.key [default: off]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) https: Option<String>,
    /// Address for RTMP publishers, or `off` [default: 0.0.0.0:1935]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) rtmp: Option<String>,
    /// Address for publishers with RTMP over TLS, or `off`; needs tls.certificate and tls.key [default: off]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) rtmps: Option<String>,
    /// SRT (not available yet)
    #[arg(long, value_name = "ADDRESS", hide = true)]
    pub(crate) srt: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Channel {
    /// Make a channel and print its first stream key, this once
    #[command(
        after_help = "Examples:\n  tidewire channel add stage\n  tidewire channel add board-meeting --private\n  KEY=$(tidewire channel add stage --json | jq -r .stream_key)"
    )]
    Add {
        /// 1 to 63 of a-z, 0-9, `-` and `_`; it becomes part of the URLs
        name: String,
        /// Leave it out of the directory; viewers need a credential
        #[arg(long)]
        private: bool,
        #[command(flatten)]
        json: Json,
    },
    /// List the channels
    List(Json),
    /// Remove a channel with its keys and its history
    Remove {
        name: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make another stream key and print it, this once; the others stay valid
    #[command(
        after_help = "Examples:\n  tidewire key add stage --label \"studio PC\"\n  tidewire key add stage --label guest --expires 12h"
    )]
    Add {
        channel: String,
        /// Words to tell keys apart
        #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
        label: String,
        /// Refuse the key after this time: 30m, 12h, 90d
        #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
        expires: Option<std::time::Duration>,
        #[command(flatten)]
        json: Json,
    },
    /// List the stream keys of a channel
    List {
        channel: String,
        #[command(flatten)]
        json: Json,
    },
    /// Make a key that opens the channel for a time and is stored nowhere
    #[command(
        after_help = "It cannot be revoked by itself: `tidewire signing-key revoke` ends all keys and links of a signing key.\n\nExample:\n  tidewire key sign stage --ttl 2h"
    )]
    Sign {
        channel: String,
        /// How long it opens the channel: 30m, 12h, 7d
        #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
        ttl: std::time::Duration,
        #[command(flatten)]
        json: Json,
    },
    /// Make a key in place of another one, which stays valid for a while
    #[command(
        after_help = "The new key has the label and the expiry of the old one.\n\nExamples:\n  tidewire key rotate stage tw_4f7x\n  tidewire key rotate stage tw_4f7x --overlap 1h"
    )]
    Rotate {
        channel: String,
        /// Its id or prefix as `key list` shows them, or the key itself
        key: String,
        /// How long the old key stays valid: 30m, 12h, 7d
        #[arg(long, value_name = "TIME", value_parser = parse_expiry, default_value = "24h")]
        overlap: std::time::Duration,
        #[command(flatten)]
        json: Json,
    },
    /// Revoke one stream key
    Revoke {
        channel: String,
        /// Its id or prefix as `key list` shows them, or the key itself
        key: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token for the API, and print it, this once; without --scope it may do everything
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "Examples:\n  tidewire token admin --label ops\n  tidewire token admin --label dashboard --scope read --expires 90d\n  TOKEN=$(tidewire token admin --json | jq -r .token)"
    )]
    Admin {
        #[command(subcommand)]
        action: Option<AdminAction>,
        #[command(flatten)]
        new: NewToken,
    },
    /// Say claim by claim why a signed link opens something, or not
    #[command(
        after_help = "Exit code 0: it opens what was asked, 1: it does not.\n\nExample:\n  tidewire token verify https://media.example/t/TOKEN/watch/board --ip 203.0.113.7"
    )]
    Verify {
        /// The link, or its token
        token: String,
        /// What it should open [default: what the link says]
        #[arg(long, value_name = "PATH")]
        path: Option<String>,
        /// The viewer's address
        #[arg(long, value_name = "ADDRESS")]
        ip: Option<std::net::IpAddr>,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewToken {
    /// Words to tell tokens apart
    #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
    pub(crate) label: String,
    /// What it may do: read (look), publish (start and stop streams, manage stream keys), admin (everything); may be given
    /// several times [default: all]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = parse_scope)]
    pub(crate) scopes: Vec<platform::Scope>,
    /// Refuse the token after this time: 30m, 12h, 90d
    #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
    pub(crate) expires: Option<std::time::Duration>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminAction {
    /// List the admin tokens
    List(Json),
    /// Revoke the admin token with this id
    Revoke {
        id: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// Path to open: /watch/CHANNEL, /live/CHANNEL/master.m3u8
    pub(crate) path: String,
    /// How long the link opens it, from now or from --not-before on: 30m, 12h, 7d
    #[arg(long, value_name = "TIME", value_parser = parse_expiry)]
    pub(crate) ttl: std::time::Duration,
    /// When it begins to: a time from now (30m) or 2026-12-01T18:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    pub(crate) not_before: Option<When>,
    /// The only addresses it opens it for: 203.0.113.7, 203.0.113.0/24, 2001:db8::/48
    #[arg(long, value_name = "ADDRESSES")]
    pub(crate) ip: Option<access::Network>,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// A point of time as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// From now.
    In(std::time::Duration),
    /// Milliseconds since 1970 (UTC).
    At(i64),
}

#[derive(Debug, Subcommand)]
pub(crate) enum SigningKey {
    /// Make a new key, which signs links from now on; links of older keys stay good
    Rotate(Json),
    /// List the keys
    List(Json),
    /// Revoke a key: every link that it signed stops to open anything
    Revoke {
        /// Its id as `signing-key list` shows it
        id: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Library {
    /// List the titles, and the streams that are being recorded
    List(Json),
    /// Remove a title
    Remove {
        /// Its id as `library list` shows it
        title: String,
        #[command(flatten)]
        json: Json,
    },
    /// Keep a title whatever its age, and when its room is needed
    Pin {
        /// Its id as `library list` shows it
        title: String,
        #[command(flatten)]
        json: Json,
    },
    /// Let a title go again when its time has come
    Unpin {
        /// Its id as `library list` shows it
        title: String,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say whether the configuration is right
    Check(Json),
    /// Print every setting and where it comes from
    Print {
        /// Print an example file with every key and what it does instead
        #[arg(long, conflicts_with = "json")]
        example: bool,
        /// Print the reference of all keys (Markdown) instead
        #[arg(long, conflicts_with_all = ["json", "example"])]
        reference: bool,
        #[command(flatten)]
        json: Json,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Leave out the test encodes, which take some seconds
    #[arg(long)]
    pub(crate) quick: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

/// Machine-readable output.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn parse_when(text: &str) -> Result<When, String> {
    super::output::parse_utc(text)
        .map(When::At)
        .or_else(|| crate::config::parse_duration(text).map(When::In))
        .ok_or_else(|| "give a time from now (30m, 12h) or a date such as 2026-12-01T18:00:00Z".to_owned())
}

fn parse_scope(text: &str) -> Result<platform::Scope, String> {
    platform::Scope::parse(text).ok_or_else(|| "give read, publish or admin".to_owned())
}

fn parse_expiry(text: &str) -> Result<std::time::Duration, String> {
    crate::config::parse_duration(text)
        .filter(|time| !time.is_zero() && time.as_secs() <= 100 * 366 * 86_400)
        .ok_or_else(|| "give a number and a unit: 30m, 12h, 90d".to_owned())
}
