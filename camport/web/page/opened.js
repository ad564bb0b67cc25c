// Browsers load no modules of a page that was opened as a file: the page says so, since nothing else of it would.
if (location.protocol === "file:") {
  const status = document.getElementById("status");
  status.textContent = "Opened as a file the page cannot load the network: serve its folder, "
    + "python -m http.server --bind 127.0.0.1 8000, and open http://127.0.0.1:8000/";
  status.className = "wrong";
}
