() => Number(document.querySelector("#series-viewer .viewer").dataset.slice)
