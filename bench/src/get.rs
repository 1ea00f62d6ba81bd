//! One hot object as fast as possible: the CPU of a request through the whole stack.

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

/// Asks for `url` over `connections` kept connections for `seconds`.
pub(crate) async fn measure(url: &Url, connections: usize, seconds: u64, pids: &[u32]) -> Result<Cost> {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let count = Rc::new(Cell::new(0_u64));
            let bytes = Rc::new(Cell::new(0));
            let mut tasks = Vec::new();
            for _ in 0..connections {
                let mut connection = Connection::open(url.address).await?;
                let (path, count, bytes) = (url.path.clone(), Rc::clone(&count), Rc::clone(&bytes));
                tasks.push(tokio::task::spawn_local(async move {
                    while let Ok((200, size)) = connection.get(&path, Body::Discard).await {
                        count.set(count.get() + 1);
                        bytes.set(size);
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
    let connections = args.value("connections", 32)?;
    let seconds = args.value("seconds", 10)?;
    let pids: Vec<u32> = args.list("pid", &[])?;
    args.nothing_left()?;
    let cost = measure(&url, connections, seconds, &pids).await?;
    println!(
        "{} requests of {} bytes, {:.0} a second, {:.2} us of server CPU each",
        cost.requests, cost.bytes, cost.per_second, cost.server_us
    );
    Ok(())
}
