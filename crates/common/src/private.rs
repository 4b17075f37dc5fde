//! Files that contain secrets, such as keys and messages.

use std::path::Path;

use crate::Result;

/// Checks that only its owner can use a file. It logs a warning if the group of the file can use it,
/// too, because Kubernetes (`fsGroup`) gives every file of a volume to a group. It checks nothing if
/// the file does not exist, or if the system is not Unix.
///
/// # Errors
///
/// An error message if every user of this machine can use the file.
pub fn check_private(path: &Path) -> Result<()> {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(path) {
        use std::os::unix::fs::PermissionsExt;
        let (file, mode) = (path.display(), metadata.permissions().mode() & 0o777);
        if mode & 0o007 != 0 {
            let everyone = "every user of this machine has access to";
            return Err(format!("{everyone} {file} ({mode:04o}); run chmod 600 {file}").into());
        }
        if mode & 0o070 != 0 {
            tracing::warn!("a group has access to {file} ({mode:04o}); run chmod 600 {file}");
        }
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
