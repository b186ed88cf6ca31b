SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  showCommonExtensions: true,
  validatorUrl: "none", // else the document's address is sent to a service on the internet
});
