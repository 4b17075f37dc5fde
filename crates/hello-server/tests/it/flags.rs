use testing::run;

use crate::EXE;

#[tokio::test]
async fn help_explains_each_flag_with_its_default() {
    let help = run(EXE, &["--help"], "").await;
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    for (flag, default) in [
        ("[ADDRESS]  ", "localhost:8765"),
        ("--open-timeout <SECONDS>", "10"),
        ("--ping-interval <SECONDS>", "20"),
        ("--ping-timeout <SECONDS>", "20"),
        ("--close-timeout <SECONDS>", "10"),
        ("--max-size <BYTES>", "1048576"),
        ("--compression <MODE>", "none"),
        ("--max-connections <N>", "10000"),
        ("--max-connections-per-address <N>", "0"),
        ("--trusted-proxy <ADDRESS>", "none"),
    ] {
        let line =
            help.lines().find(|line| line.contains(flag)).unwrap_or_else(|| panic!("{help}"));
        let (_, explained) = line.split_once(flag).unwrap();
        assert!(explained.trim().len() > 20, "{line}");
        assert!(line.ends_with(&format!("[default: {default}]")), "{line}");
    }
    assert!(help.contains("--allow-origin <ORIGIN>"));
}

#[tokio::test]
async fn an_invalid_flag_gets_a_hint() {
    for (args, says) in [
        (["--ping-interval", "-1"], "use a number of seconds from 0 to a year"),
        (["--ping-timeout", "NaN"], "use a number of seconds from 0 to a year"),
        (["--close-timeout", "1e300"], "use a number of seconds from 0 to a year"),
        (["--open-timeout", "soon"], "use a number of seconds, for example 20 or 0.5"),
        (["--open-timeout", "0"], "use more than 0 seconds"),
        (["--max-size", "1MB"], "use a number of bytes from 0 to 1073741824"),
        (["--max-size", "1000000000000"], "use a number of bytes from 0 to 1073741824"),
        (["--max-size", "99999999999999999999"], "use a number of bytes from 0 to 1073741824"),
    ] {
        let output = run(EXE, &args.map(|arg| arg), "").await;
        assert!(!output.status.success());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(says), "{stderr}");
    }
}

#[tokio::test]
async fn the_largest_number_of_connections_is_no_limit() {
    let server = crate::start(&["--max-connections", "18446744073709551615"]).await;
    testing::Peer::connect(&server.url()).await;
}
