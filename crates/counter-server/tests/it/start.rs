// Starts the server of this crate. main.rs explains which other crate has such a file.

pub const EXE: &str = env!("CARGO_BIN_EXE_counter-server");

/// Whether the Python version of this server has a page that is opened as a file.
pub const LETS_IN_FILES: bool = true;

/// A running server.
pub type Server = testing::Program;

/// Starts `EXE` with `args`, by way of the command `by` if that is not empty.
pub async fn start_by(by: &[&str], args: &[&str]) -> Server {
    let words = [by, &[EXE], args].concat();
    testing::Program::start(words[0], &words[1..]).await
}
