//! A pseudo-terminal with a program at it, and its screen.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use testing::{soon, within};
use tokio::process::{Child, Command};

use crate::EXE;

const ROWS: u16 = 10;
const COLUMNS: u16 = 60;

/// talk at a terminal.
pub struct Terminal {
    talk: Child,
    keyboard: File,
    /// This stays open, so that a test can read the mode after the end of talk.
    device: File,
    screen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Starts talk with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let device = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&device, size).unwrap();
        let (keyboard, device) = (File::from(keyboard), File::from(device));
        let end = || Stdio::from(device.try_clone().unwrap());
        let talk = Command::new(EXE)
            .args(arguments)
            .env("NO_PROXY", "*")
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(
            ROWS.try_into().unwrap(),
            COLUMNS.try_into().unwrap(),
            0,
        )));
        let (mut from, to) = (keyboard.try_clone().unwrap(), screen.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                to.lock().unwrap().process(&bytes[..n]);
            }
        });
        Self { talk, keyboard, device, screen }
    }

    /// Presses these keys.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// The lines of the screen, without the empty ones at the end.
    pub fn lines(&self) -> Vec<String> {
        let text = self.screen.lock().unwrap().screen().contents();
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until these are the last lines.
    pub async fn shows(&self, last: &[&str]) {
        let last: Vec<_> = last.iter().map(|line| (*line).to_owned()).collect();
        self.until(&last.join("\n"), |lines| lines.ends_with(&last)).await;
    }

    /// Waits until the screen ends with this text, wherever its lines are broken.
    pub async fn shows_unbroken(&self, last: &str) {
        self.until(last, |lines| lines.concat().ends_with(last)).await;
    }

    async fn until(&self, what: &str, shown: impl Fn(&[String]) -> bool) {
        let shown = async {
            while !shown(&self.lines()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if within(shown).await.is_err() {
            panic!("the screen does not end with {what}: {:#?}", self.lines());
        }
    }

    /// Waits until the cursor is in this column.
    pub async fn cursor_is_at(&self, column: u16) {
        let arrived = async {
            while self.screen.lock().unwrap().screen().cursor_position().1 != column {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the cursor", arrived).await;
    }

    /// The mode that the terminal is in.
    pub fn mode(&self) -> Termios {
        tcgetattr(&self.device).unwrap()
    }

    /// Interrupts talk, as Ctrl-C does if the terminal is not in the editor's mode.
    pub fn interrupt(&self) {
        let talk = Pid::from_raw(self.talk.id().unwrap() as i32).unwrap();
        kill_process(talk, Signal::INT).unwrap();
    }

    /// Waits for the end, and returns the exit status.
    pub async fn ended(&mut self) -> Option<i32> {
        soon("talk's end", self.talk.wait()).await.unwrap().code()
    }
}
