use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};

use crate::certificate::fault;
use crate::{connect, folder, only, start, write};

/// A DER value: its tag, the length, and the content of less than 128 bytes.
fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    [&[tag, contents.len() as u8][..], contents].concat()
}

/// A PKCS#8 key on the curve P-256 (RFC 5915), with this optional form of its public half.
fn ec_key(private: &[u8], public: Option<&[u8]>) -> String {
    let public = public.map(|point| der(0xa1, &der(3, &[&[0], point].concat())));
    let key = [vec![2, 1, 1], der(4, private), public.unwrap_or_default()].concat();
    // id-ecPublicKey and prime256v1
    let [kind, curve] = [&[42, 134, 72, 206, 61, 2, 1][..], &[42, 134, 72, 206, 61, 3, 1, 7]];
    let algorithm = der(0x30, &[der(6, kind), der(6, curve)].concat());
    let whole = [vec![2, 1, 0], algorithm, der(4, &der(0x30, &key))].concat();
    let mut outer = vec![0x30, 0x81, whole.len() as u8];
    outer.extend(whole);
    pem::encode(&pem::Pem::new("PRIVATE KEY", outer))
}

#[tokio::test]
async fn an_ec_key_may_hold_its_public_half_in_any_form_or_not_at_all() {
    let folder = folder("ec");
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let params = CertificateParams::new(["127.0.0.1".into()]).unwrap();
    let own = params.self_signed(&key).unwrap().pem();
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::new(["127.0.0.1".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "another");
    let of_another = params.self_signed(&other).unwrap().pem();
    let whole = key.serialize_der();
    let place = whole.windows(5).position(|start| start == [2, 1, 1, 4, 32]).unwrap() + 5;
    let private = &whole[place..place + 32];
    // 4, X and Y (SEC 1, section 2.3.3)
    let point = key.public_key_raw();
    let compressed = [&[2 + point[64] % 2][..], &point[1..33]].concat();
    let keys = [
        key.serialize_pem(),
        ec_key(private, None),
        ec_key(private, Some(&compressed)),
        ec_key(private, Some(point)),
    ];
    for (number, key) in keys.iter().enumerate() {
        let pem = folder.join(format!("{number}.pem"));
        // The server's own certificate is found after another one of its kind.
        write(&pem, format!("{of_another}{own}{key}"));
        let server = start(&pem).await;
        let connected = connect(server.address, only(&pem)).await;
        assert!(connected.is_ok(), "key {number}: {connected:?}");
        write(&pem, format!("{of_another}{key}"));
        fault(&pem, "is not that of its certificate; put").await;
    }
}
