use std::net::SocketAddr;

use common::tls::{self, Trust};
use native_tls::{Identity, TlsAcceptor};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::{connect, expired, folder, for_another_host, made, of_the_future, only, write};

/// The error message of wss-client, which fails to connect to `address`.
async fn refusal(address: SocketAddr, trust: Trust) -> String {
    connect(address, trust).await.unwrap_err().to_string()
}

/// A server that, unlike wss-server, accepts any certificate for itself.
async fn careless((key, certificate): &(String, String)) -> SocketAddr {
    let identity = Identity::from_pkcs8(certificate.as_bytes(), key.as_bytes()).unwrap();
    let acceptor = tokio_native_tls::TlsAcceptor::from(TlsAcceptor::new(identity).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            _ = acceptor.accept(stream).await;
        }
    });
    address
}

#[tokio::test]
async fn a_client_refuses_a_wrong_certificate_and_says_which() {
    let folder = folder("refusals");
    let pem = folder.join("trusted.pem");
    for (made, sentence) in [
        (made(expired), "has expired; make"),
        (made(of_the_future), "is not valid yet; set"),
        (made(for_another_host), "is for another host; use"),
    ] {
        write(&pem, &made.1);
        let said = refusal(careless(&made).await, only(&pem)).await;
        assert!(said.contains(sentence), "no {sentence:?} in {said:?}");
    }
    // The trusted certificate has the same name and the same form as the server's certificate.
    let server = careless(&made(|_| {})).await;
    write(&pem, made(|_| {}).1);
    for trust in [only(&pem), Trust::SystemRoots] {
        let said = refusal(server, trust).await;
        assert!(said.contains("is not trusted by this client; pass"), "{said}");
    }
    let said = refusal(server, only(&folder.join("missing.pem"))).await;
    assert!(said.contains("missing.pem; pass an existing file"), "{said}");
}

#[tokio::test]
async fn a_client_says_when_the_server_does_not_speak_tls() {
    let pem = folder("plain").join("trusted.pem");
    tls::make(&pem).unwrap();
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (said, ()) = tokio::join!(refusal(address, only(&pem)), serve);
        assert!(said.contains("does not use TLS; start wss-server there"), "{said}");
    }
}
