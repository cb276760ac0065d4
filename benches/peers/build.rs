//! Compiles Boost.Interprocess, where the feature `boost` asks for it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "boost")]
    {
        println!("cargo:rerun-if-changed=src/boost.cpp");
        cc::Build::new()
            .cpp(true)
            .std("c++17")
            .opt_level(3)
            .file("src/boost.cpp")
            .compile("ipc_boost");
    }
}
