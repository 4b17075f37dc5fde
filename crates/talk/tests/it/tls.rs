//! With the feature, the certificates for `wss://`. Without it, the hint to build with it.

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn without_the_feature_it_says_what_to_build() {
    for arguments in [
        &["wss://localhost:1"][..],
        &["WSS://localhost:1", "--reconnect"],
        &["ws://localhost:1", "--ca", "x.pem"],
        &["ws://localhost:1", "--insecure"],
    ] {
        let output = testing::run(crate::EXE, arguments, "").await;
        let says = "this talk was built without TLS; build it with: \
                    cargo run -p talk --features tls -- wss://…\n";
        assert_eq!(crate::ended(&output), (Some(1), "", says));
    }
}

#[cfg(feature = "make-cert")]
mod with_tls {
    use std::path::{Path, PathBuf};

    use common::tls;
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;
    use tungstenite::Message;

    use crate::proxies::{real, talk_through};
    use crate::{EXE, ended};

    /// Starts a greeting server with the certificate in this file. Returns its URL with this host
    /// name.
    async fn serve(pem: &Path, host: &str) -> String {
        let acceptor = tls::acceptor(pem, None, "localhost").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let Ok(mut socket) = accept_async(stream).await else { continue };
                _ = socket.send(Message::text("encrypted")).await;
                while let Some(Ok(_)) = socket.next().await {}
            }
        });
        format!("wss://{host}:{port}")
    }

    fn made(name: &str) -> PathBuf {
        let pem = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).join("localhost.pem");
        tls::make(&pem).unwrap();
        pem
    }

    #[tokio::test]
    async fn certificates_are_checked_unless_insecure_is_passed() {
        let pem = made("trusted");
        let url = serve(&pem, "localhost").await;
        let flags = ["--wait", "0.2", "--ca", pem.to_str().unwrap()];
        let output = testing::run(EXE, &[&[url.as_str()], &flags[..]].concat(), "").await;
        assert_eq!(ended(&output), (Some(0), "< encrypted\n", "closed: 1000, OK\n"));

        let output = testing::run(EXE, &[&url], "").await;
        let (status, stdout, says) = ended(&output);
        assert!(says.contains("is not trusted by this client; pass its file"), "{says}");
        assert_eq!((status, stdout), (Some(1), ""));

        let output = testing::run(EXE, &[&url, "--insecure", "--wait", "0.2"], "").await;
        let (status, stdout, says) = ended(&output);
        assert!(says.starts_with("WARNING: --insecure checks no certificate; anyone"), "{says}");
        assert_eq!((status, stdout), (Some(0), "< encrypted\n"));
    }

    /// Only this library can ask a client for its certificate.
    #[cfg(not(any(windows, target_vendor = "apple")))]
    #[tokio::test]
    async fn a_server_receives_the_certificate_of_its_client() {
        use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod, SslVerifyMode};

        let (own, client) = (made("asking"), made("asked"));
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate_chain_file(&own).unwrap();
        acceptor.set_private_key_file(&own, SslFiletype::PEM).unwrap();
        let mode = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
        // Our certificates are for servers only, so the test compares the certificate itself.
        acceptor.set_verify_callback(mode, |_, _| true);
        let acceptor = acceptor.build();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = acceptor.accept(stream.unwrap()) else { continue };
                let received = stream.ssl().peer_certificate().unwrap().to_pem().unwrap();
                let mut socket = tungstenite::accept(stream).unwrap();
                socket.send(Message::text(String::from_utf8(received).unwrap())).unwrap();
                while socket.read().is_ok() {}
            }
        });
        let pem = std::fs::read_to_string(&client).unwrap().replace("\r\n", "\n");
        let (start, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----\n");
        let certificate = &pem[pem.find(start).unwrap()..][..];
        let certificate = &certificate[..certificate.find(end).unwrap() + end.len()];

        // The certificate and the key in one file, then in two.
        let (cert, key) = (client.with_extension("crt"), client.with_extension("key"));
        std::fs::write(&cert, certificate).unwrap();
        // The copy has the mode of a key, and writing keeps the mode.
        std::fs::copy(&client, &key).unwrap();
        std::fs::write(&key, pem.replace(certificate, "")).unwrap();
        let [own, client, cert, key] =
            [&own, &client, &cert, &key].map(|path| path.to_str().unwrap());
        let common = [&url, "--ca", own, "--raw", "--wait", "0.2"];
        for files in [&["--cert", client][..], &["--cert", cert, "--key", key]] {
            let output = testing::run(EXE, &[&common[..], files].concat(), "").await;
            let (status, stdout, stderr) = ended(&output);
            assert_eq!((status, stdout.trim_end()), (Some(0), certificate.trim_end()), "{stderr}");
        }

        let output = testing::run(EXE, &common, "").await;
        assert_eq!(output.status.code(), Some(1), "a client without a certificate");
        let output = testing::run(EXE, &[&common[..], &["--cert", cert]].concat(), "").await;
        let says = format!(
            "{cert} has no private key; add that of its certificate, or pass its file with --key\n"
        );
        assert_eq!(ended(&output), (Some(1), "", says.as_str()));
    }

    #[tokio::test]
    async fn a_wss_conversation_goes_through_a_real_proxy() {
        let pem = made("proxied");
        let url = serve(&pem, "localhost").await;
        let arguments = [&url, "--wait", "0.2", "--ca", pem.to_str().unwrap()];
        for (_proxy, port, scheme) in real().await {
            let proxy = format!("{scheme}://ada:secret@127.0.0.1:{port}");
            let output = talk_through(&proxy, &arguments).await;
            assert_eq!(ended(&output), (Some(0), "< encrypted\n", "closed: 1000, OK\n"));
        }
    }
}
