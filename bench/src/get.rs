//! One hot object, as fast as possible over few connections, or now and then over many: the CPU of a request through the
//! whole stack.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::args::Args;
use crate::http::{Body, Connection, Url};
use crate::usage::Usage;

/// What a run of GETs cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) requests: u64,
    pub(crate) per_second: f64,
    pub(crate) server_us: f64,
    pub(crate) bytes: usize,
}

/// How a run asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Kept connections.
    pub(crate) connections: usize,
    /// Each asks this often, spread evenly; `None`: again as soon as it has its answer. What a viewer's connection does is
    /// ask every 250 ms: each request then finds its connection's memory cold, in the server and in the kernel.
    pub(crate) every: Option<Duration>,
    pub(crate) seconds: u64,
}

/// Asks for `url` as `load` says.
pub(crate) async fn measure(url: &Url, load: Load, pids: &[u32]) -> Result<Cost> {
    let Load {
        connections,
        every,
        seconds,
    } = load;
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let count = Rc::new(Cell::new(0_u64));
            let bytes = Rc::new(Cell::new(0));
            let mut tasks = Vec::new();
            for number in 0..connections {
                let mut connection = Connection::open(url.address).await?;
                let first = every.map(|every| {
                    tokio::time::Instant::now()
                        + every * u32::try_from(number).unwrap_or(0) / u32::try_from(connections).unwrap_or(1)
                });
                let (path, count, bytes) = (url.path.clone(), Rc::clone(&count), Rc::clone(&bytes));
                tasks.push(tokio::task::spawn_local(async move {
                    let mut pace = every
                        .zip(first)
                        .map(|(every, first)| tokio::time::interval_at(first, every));
                    if let Some(pace) = &mut pace {
                        pace.tick().await;
                    }
                    while let Ok((200, size)) = connection.get(&path, Body::Discard).await {
                        count.set(count.get() + 1);
                        bytes.set(size);
                        if let Some(pace) = &mut pace {
                            pace.tick().await;
                        }
                    }
                }));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            let (start, before) = (count.get(), Usage::of(pids)?);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let (requests, after) = (count.get() - start, Usage::of(pids)?);
            for task in tasks {
                task.abort();
            }
            ensure!(requests > 0, "{} brought nothing with status 200", url.path);
            let server_us = (after.cpu_us - before.cpu_us) as f64 / requests as f64;
            Ok(Cost {
                requests,
                per_second: requests as f64 / seconds as f64,
                server_us,
                bytes: bytes.get(),
            })
        })
        .await
}

/// `tidewire-bench get`.
pub(crate) async fn main(args: &mut Args) -> Result<()> {
    let url = Url::parse(&args.text("url").context("--url is needed")?).await?;
    let every_ms: u64 = args.value("every-ms", 0)?;
    let load = Load {
        connections: args.value("connections", 32)?,
        every: (every_ms > 0).then(|| Duration::from_millis(every_ms)),
        seconds: args.value("seconds", 10)?,
    };
    let pids: Vec<u32> = args.list("pid", &[])?;
    args.nothing_left()?;
    let cost = measure(&url, load, &pids).await?;
    println!(
        "{} requests of {} bytes, {:.0} a second, {:.2} us of server CPU each",
        cost.requests, cost.bytes, cost.per_second, cost.server_us
    );
    Ok(())
}
