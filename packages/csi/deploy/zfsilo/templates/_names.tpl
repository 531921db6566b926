{{- define "zfsilo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* 40 characters at most, so that every suffix fits into the 63 of a label or a Service. */}}
{{- define "zfsilo.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "zfsilo.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Call with (dict "root" $ "component" "node"). */}}
{{- define "zfsilo.selector" -}}
app.kubernetes.io/name: {{ include "zfsilo.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "zfsilo.labels" -}}
{{ include "zfsilo.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{/* One of our images; call with (dict "root" $ "image" .Values.images.csi). */}}
{{- define "zfsilo.image" -}}
{{- $registry := required "images.registry: say where the images of packages/csi/deploy/images were pushed" .root.Values.images.registry -}}
{{- printf "%s/%s:%s" $registry .image.name (default .root.Chart.AppVersion .image.tag) -}}
{{- end -}}

{{/* A sidecar; call with (dict "root" $ "name" "csi-attacher" "image" .Values.sidecars.attacher). */}}
{{- define "zfsilo.sidecarImage" -}}
{{- printf "%s/%s:%s" .root.Values.sidecars.registry .name .image.tag -}}
{{- end -}}

{{- define "zfsilo.controlPlane.isHere" -}}
{{- if not .Values.controlPlane.external.address -}}true{{- end -}}
{{- end -}}

{{- define "zfsilo.controlPlane.name" -}}
{{- include "zfsilo.fullname" . }}-control-plane
{{- end -}}

{{/* Where the driver and the agents on nodes find the API. */}}
{{- define "zfsilo.controlPlane.url" -}}
{{- if include "zfsilo.controlPlane.isHere" . -}}
{{- printf "%s://%s.%s.svc:%v" (ternary "http" "https" (eq .Values.tls.mode "none")) (include "zfsilo.controlPlane.name" .) .Release.Namespace .Values.controlPlane.service.port -}}
{{- else -}}
{{- .Values.controlPlane.external.address -}}
{{- end -}}
{{- end -}}

{{- define "zfsilo.tokenSecret" -}}
{{- default (printf "%s-token" (include "zfsilo.fullname" .)) .Values.token.existingSecret -}}
{{- end -}}

{{- define "zfsilo.tlsSecret" -}}
{{- default (printf "%s-tls" (include "zfsilo.fullname" .)) .Values.tls.existingSecret -}}
{{- end -}}
