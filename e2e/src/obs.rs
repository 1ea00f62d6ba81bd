//! OBS Studio as the encoder: the real program on a virtual screen, with a home of its own.
//!
//! The home holds everything that the first-run wizard and the settings dialog would write: a profile (640x360 at 30
//! frames a second, x264 with a keyframe every 2 s, AAC at 48 kHz) and a scene with one looping clip of moving picture
//! and tone. OBS draws with OpenGL in software. It needs no sound server and no D-Bus; both are kept away, so that it
//! starts no daemon that outlives the test.

use std::fs::{File, Permissions, create_dir_all, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid,
};
use serde_json::json;

use crate::publish::{ffmpeg, video_options};
use crate::server::{TempDir, tail};

/// The name of the profile and of the scene collection.
const NAME: &str = "Tidewire";
/// How long the virtual screen may take to open.
const SCREEN_WITHIN: Duration = Duration::from_secs(30);

/// Where OBS publishes, and how often it sends a keyframe.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Settings > Stream > Server: `rtmp://HOST:PORT/live`.
    pub server: String,
    /// Settings > Stream > Stream Key.
    pub key: String,
    /// Settings > Output > Keyframe Interval, seconds; 0 is x264's own choice.
    pub keyframe_interval_s: u32,
}

/// A running OBS that streams. Dropping it kills it and its screen; a panicking test prints its log.
#[derive(Debug)]
pub struct Obs {
    studio: Group,
    // Fields are dropped in this order: the screen goes after the program on it, the home last.
    _screen: Group,
    home: TempDir,
}

impl Obs {
    /// Opens a screen and starts OBS, which connects as soon as its window is there.
    ///
    /// # Errors
    /// When `obs` or `Xvfb` is not installed or does not start. A refused connection is no error: see [`Obs::log`].
    pub fn start(settings: &Settings) -> Result<Self> {
        let home = TempDir::new()?;
        furnish(home.path(), settings).context("OBS's home cannot be made")?;
        let (screen, display) = open_screen(home.path())?;
        let log = File::create(home.path().join("obs.log"))?;
        let mut command = Command::new("obs");
        command.args([
            "--multi",
            "--disable-updater",
            "--minimize-to-tray",
            "--startstreaming",
        ]);
        command.args(["--profile", NAME, "--collection", NAME]);
        command.env("HOME", home.path());
        for (variable, folder) in [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            command.env(variable, home.path().join(folder));
        }
        command.env("DISPLAY", display).env_remove("WAYLAND_DISPLAY");
        command.envs([("QT_QPA_PLATFORM", "xcb"), ("LIBGL_ALWAYS_SOFTWARE", "1")]);
        command.env("DBUS_SESSION_BUS_ADDRESS", "disabled:");
        command.env("PULSE_SERVER", home.path().join("no-sound-server"));
        command.stdout(log.try_clone()?).stderr(log);
        Ok(Self {
            studio: Group::start(&mut command)?,
            _screen: screen,
            home,
        })
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> String {
        let text = std::fs::read(self.home.path().join("obs.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Fails when OBS has ended.
    ///
    /// # Errors
    /// With how it ended, and the end of its log.
    pub fn require_running(&self) -> Result<()> {
        match self.studio.ended()? {
            None => Ok(()),
            Some(status) => bail!("OBS ended: {status:?}\n{}", tail(&self.log(), 40)),
        }
    }

    /// Waits for a line of the log.
    ///
    /// # Errors
    /// When it is not there in time, or OBS ends before.
    pub fn wait_log(&self, words: &str, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while !self.log().contains(words) {
            self.require_running()?;
            ensure!(
                Instant::now() < deadline,
                "OBS has not said {words:?} after {within:?}\n{}",
                tail(&self.log(), 40)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Exits as from its menu: OBS stops the stream in good order, then ends.
    ///
    /// # Errors
    /// When it is still running after a minute.
    pub fn exit(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        kill_process(Pid::from_child(&self.studio.leader), Signal::INT)?;
        while self.studio.ended()?.is_none() {
            ensure!(
                Instant::now() < deadline,
                "OBS is still running 60 s after SIGINT\n{}",
                tail(&self.log(), 40)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Dies without a word, as in a crash: its connection just closes.
    pub fn crash(&mut self) {
        self.studio.end();
    }
}

impl Drop for Obs {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- OBS's log ---\n{}", tail(&self.log(), 60));
        }
    }
}

/// A child and all that it starts, in one process group. Dropping it kills them.
///
/// The child is not reaped before the group is killed, so that the group's number cannot have come to another.
#[derive(Debug)]
struct Group {
    leader: Child,
    is_over: bool,
}

impl Group {
    fn start(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).process_group(0).spawn();
        let missing = || format!("cannot start {program}: `cargo xtask test` installs it");
        Ok(Self {
            leader: child.with_context(missing)?,
            is_over: false,
        })
    }

    /// The leader's end, if it has ended.
    fn ended(&self) -> Result<Option<WaitIdStatus>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::Pid(Pid::from_child(&self.leader)), options)?)
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.is_over, true) {
            let _ = kill_process_group(Pid::from_child(&self.leader), Signal::KILL);
            let _ = self.leader.wait();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts Xvfb on a display number that it finds free, and returns `DISPLAY`.
fn open_screen(home: &Path) -> Result<(Group, String)> {
    let (answer, log) = (home.join("display"), home.join("xvfb.log"));
    let mut command = Command::new("Xvfb");
    command.args([
        "-displayfd",
        "1",
        "-screen",
        "0",
        "1024x768x24",
        "-nolisten",
        "tcp",
    ]);
    command.stdout(File::create(&answer)?).stderr(File::create(&log)?);
    let screen = Group::start(&mut command)?;
    let deadline = Instant::now() + SCREEN_WITHIN;
    loop {
        let text = std::fs::read_to_string(&answer)?;
        if let Some(number) = text.strip_suffix('\n') {
            return Ok((screen, format!(":{number}")));
        }
        let status = screen.ended()?;
        if status.is_some() || Instant::now() > deadline {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("Xvfb opened no screen in {SCREEN_WITHIN:?} ({status:?})\n{log}");
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Writes all that OBS reads at its start.
fn furnish(home: &Path, settings: &Settings) -> Result<()> {
    let clip = home.join("clip.mp4");
    film(&clip)?;
    let run = home.join("run");
    create_dir_all(&run)?;
    set_permissions(&run, Permissions::from_mode(0o700))?;
    let config = home.join("config/obs-studio");
    let profile = config.join("basic/profiles").join(NAME);
    let scenes = config.join("basic/scenes");
    create_dir_all(&profile)?;
    create_dir_all(&scenes)?;
    write(config.join("global.ini"), GLOBAL)?;
    write(profile.join("basic.ini"), PROFILE)?;
    let encoder = json!({
        "rate_control": "CBR", "bitrate": 1200, "preset": "veryfast", "keyint_sec": settings.keyframe_interval_s,
    });
    write(profile.join("streamEncoder.json"), encoder.to_string())?;
    let service = json!({
        "type": "rtmp_custom",
        "settings": { "server": settings.server, "key": settings.key, "use_auth": false },
    });
    write(profile.join("service.json"), service.to_string())?;
    write(scenes.join(format!("{NAME}.json")), scene(&clip))?;
    Ok(())
}

/// OBS's own settings. `FirstRun` says that the wizard has been seen; without `ConfirmOnExit=false` OBS answers SIGINT
/// with a question on the screen while it streams.
const GLOBAL: &str = "\
[General]
FirstRun=true
Pre19Defaults=false
Pre21Defaults=false
Pre23Defaults=false
Pre24.1Defaults=false
EnableAutoUpdates=false
ConfirmOnExit=false
[Basic]
Profile=Tidewire
ProfileDir=Tidewire
SceneCollection=Tidewire
SceneCollectionFile=Tidewire
[OBSWebSocket]
FirstLoad=false
ServerEnabled=false
";

/// OBS does not reconnect by itself: the tests watch what the server does without a publisher.
const PROFILE: &str = "\
[General]
Name=Tidewire
[Video]
BaseCX=640
BaseCY=360
OutputCX=640
OutputCY=360
FPSType=0
FPSCommon=30
[Audio]
SampleRate=48000
ChannelSetup=Stereo
[Output]
Mode=Advanced
Reconnect=false
[AdvOut]
Encoder=obs_x264
ApplyServiceSettings=false
TrackIndex=1
";

/// One scene that shows and plays the clip over and over.
fn scene(clip: &Path) -> String {
    let clip = json!({
        "id": "ffmpeg_source", "name": "Clip", "mixers": 255,
        "settings": { "is_local_file": true, "local_file": PathBuf::from(clip), "looping": true },
    });
    let items =
        json!([{ "id": 1, "name": "Clip", "visible": true, "scale": { "x": 1.0, "y": 1.0 }, "align": 5 }]);
    let scene = json!({ "id": "scene", "name": "Scene", "settings": { "id_counter": 1, "items": items } });
    json!({
        "name": NAME,
        "current_scene": "Scene",
        "current_program_scene": "Scene",
        "scene_order": [{ "name": "Scene" }],
        "sources": [scene, clip],
    })
    .to_string()
}

/// Ten seconds of moving picture and tone, cheap to decode.
fn film(clip: &Path) -> Result<()> {
    let mut command = ffmpeg();
    command.args(["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30"]);
    command.args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]);
    video_options(&mut command, 30, 0, "1500k");
    command.args(["-c:a", "aac", "-t", "10"]).arg(clip);
    let status = command.status().context("cannot start ffmpeg")?;
    ensure!(status.success(), "ffmpeg made no clip: {status}");
    Ok(())
}
