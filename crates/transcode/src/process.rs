//! One FFmpeg process: its pipes, its group, its end.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process_group, set_parent_process_death_signal};
use tokio::net::unix::pipe;
use tokio::process::ChildStderr;
use tokio::time::timeout;

/// The first file descriptor of the child after stdin, stdout and stderr.
pub(crate) const FIRST_FD: usize = 3;

/// A command that runs in its own process group and is killed when the calling thread ends.
///
/// The calling thread, not the process: spawn it from a thread that lives as long as the child may.
pub(crate) fn command<S: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command
        .args(args)
        .process_group(0)
        .env("AV_LOG_FORCE_NOCOLOR", "1");
    die_with_parent(&mut command);
    command
}

#[allow(unsafe_code)]
fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let hook = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the line above: nobody would send the signal then.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::Interrupted.into())
        }
    };
    // SAFETY: the hook runs between fork and exec in a process that may hold other threads' locks. It does two system
    // calls (prctl, getppid) and builds an `io::Error` from an error number or kind: no allocation, no lock.
    unsafe {
        command.pre_exec(hook);
    }
}

/// A running child and our ends of its pipes. Dropping it kills its whole process group.
pub(crate) struct Process {
    child: tokio::process::Child,
    group: Option<Pid>,
}

/// Our ends of the pipes.
pub(crate) struct Pipes {
    pub(crate) stdin: pipe::Sender,
    pub(crate) outputs: Vec<pipe::Receiver>,
    pub(crate) progress: pipe::Receiver,
    pub(crate) stderr: ChildStderr,
}

impl Process {
    /// Spawns `program` with `outputs` pipes from [`FIRST_FD`] on, then the pipe for progress.
    pub(crate) fn spawn(program: &Path, args: &[String], outputs: usize) -> io::Result<(Self, Pipes)> {
        let (stdin_theirs, stdin_ours) = io::pipe()?;
        let mut ours = Vec::with_capacity(outputs + 1);
        let mut mappings = Vec::with_capacity(outputs + 1);
        for index in 0..=outputs {
            let (reader, writer) = io::pipe()?;
            ours.push(pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?);
            let child_fd = i32::try_from(FIRST_FD + index).map_err(io::Error::other)?;
            mappings.push(FdMapping {
                parent_fd: OwnedFd::from(writer),
                child_fd,
            });
        }
        let mut command = command(program, args);
        command
            .stdin(OwnedFd::from(stdin_theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        let mut command = tokio::process::Command::from(command);
        let mut child = command.kill_on_drop(true).spawn()?;
        // Closes our copies of the child's ends: end of file must mean that the child closed its own.
        drop(command);
        let stderr = child
            .stderr
            .take()
            .ok_or_else(|| io::Error::other("no stderr pipe"))?;
        let progress = ours.pop().ok_or_else(|| io::Error::other("no progress pipe"))?;
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let stdin = pipe::Sender::from_owned_fd(OwnedFd::from(stdin_ours))?;
        Ok((
            Self { child, group },
            Pipes {
                stdin,
                outputs: ours,
                progress,
                stderr,
            },
        ))
    }

    /// Process id while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        // What it may have started itself (it can be a wrapper script) ends with it.
        self.signal(Signal::KILL);
        self.group = None;
        status
    }

    /// SIGKILL to the group, then reaps it.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::KILL);
        // An error means that it has been reaped.
        let _ = self.wait().await;
    }

    /// For a child whose stdin was just closed: `step` to end by itself, `step` after SIGTERM, then SIGKILL. A child
    /// that waits in a read of stdin does not see SIGTERM, hence the order.
    pub(crate) async fn stop(&mut self, step: Duration) {
        if timeout(step, self.wait()).await.is_ok() {
            return;
        }
        self.signal(Signal::TERM);
        if timeout(step, self.wait()).await.is_err() {
            self.kill().await;
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // ESRCH: the group is gone, which is what is wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// CPU time that a process has used so far, in clock ticks; `None` if it cannot be told.
pub(crate) fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): the name may hold anything; behind it come state (3) to utime (14) and stime (15).
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// `status` in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
