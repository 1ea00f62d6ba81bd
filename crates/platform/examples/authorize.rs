//! Measures `authorize_publish`: time per call on a database with many keys, valid, unknown and malformed.
//!
//! `cargo run --release -p tidewire-platform --example authorize [KEYS]`

use std::io::Write;
use std::time::Instant;

use tidewire_platform::Platform;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    const CALLS: u32 = 20_000;
    let keys: usize = std::env::args().nth(1).map_or(Ok(2_000), |text| text.parse())?;
    let dir = std::env::temp_dir().join(format!("tidewire-authorize-{}", std::process::id()));
    let platform = Platform::open(&dir).await?;
    let begun = Instant::now();
    let mut valid = String::new();
    for index in 0..keys {
        let (_, key) = platform
            .create_channel_with_key(&format!("c{index}"), false)
            .await?;
        valid = key.stream_key.expose().to_owned();
    }
    let mut out = std::io::stdout().lock();
    let each = begun.elapsed() / u32::try_from(keys)?.max(1);
    writeln!(out, "channel with key: {each:?} each, {keys} made")?;
    let unknown = format!("{}0000", &valid[..31]);
    for (what, key) in [
        ("valid", valid.as_str()),
        ("unknown", &unknown),
        ("malformed", "hello"),
    ] {
        let begun = Instant::now();
        for _ in 0..CALLS {
            let _ = platform.authorize_publish(key).await;
        }
        writeln!(out, "{what}: {:?} a call", begun.elapsed() / CALLS)?;
    }
    platform.close().await?;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
